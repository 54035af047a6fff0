#include "proxy/wire/reply.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "proxy/wire/date.h"
#include "proxy/wire/wire_error.h"
#include "tests/unit/proxy_wire/samples.h"

namespace sluice::proxy::wire {
namespace {

using namespace std::string_literals;

Refusal refusal(Reason reason) {
  return {.reason = reason,
          .agent = "coder-1",
          .target = "other.example:443",
          .rule = "",
          .detail = ""};
}

TEST(Answer, IsTheOneTableOfTheDocumentation) {
  struct Row {
    Reason reason;
    int http;
    std::string_view proxy_status;
    int socks;
    int tls;  // 0: no alert
    int dns;
  };
  const Row rows[] = {
      {Reason::not_listed, 403, "http_request_denied", 2, 49, 3},
      {Reason::denied, 403, "http_request_denied", 2, 49, 3},
      {Reason::never, 403, "http_request_denied", 2, 49, 3},
      {Reason::port_not_allowed, 403, "http_request_denied", 2, 49, 3},
      {Reason::unknown_agent, 403, "http_request_denied", 2, 49, 3},
      {Reason::request_not_allowed, 403, "http_request_denied", 2, 49, 3},
      {Reason::policy_changed, 403, "http_request_denied", 2, 49, 3},
      {Reason::address_forbidden, 403, "destination_ip_prohibited", 2, 49, 2},
      {Reason::address_private, 403, "destination_ip_prohibited", 2, 49, 2},
      {Reason::auth_required, 407, "http_request_denied", 2, 0, 2},
      {Reason::bad_request, 400, "http_request_error", 2, 49, 1},
      {Reason::bad_host, 400, "http_request_error", 2, 49, 1},
      {Reason::scheme_not_allowed, 400, "http_request_error", 2, 49, 1},
      {Reason::sni_mismatch, 400, "http_request_error", 2, 49, 1},
      {Reason::sni_missing, 400, "http_request_error", 2, 49, 1},
      {Reason::not_tls, 400, "http_request_error", 2, 49, 1},
      {Reason::ech_present, 400, "http_request_error", 2, 49, 1},
      {Reason::host_mismatch, 400, "http_request_error", 2, 49, 1},
      {Reason::connection_limit, 429, "connection_limit_reached", 2, 49, 2},
      {Reason::rate_limit, 429, "connection_limit_reached", 2, 49, 2},
      {Reason::upload_budget, 429, "connection_limit_reached", 2, 49, 2},
      {Reason::download_budget, 429, "connection_limit_reached", 2, 49, 2},
      {Reason::header_too_large, 431, "http_request_error", 1, 80, 2},
      {Reason::deadline, 408, "http_request_error", 1, 80, 2},
      {Reason::proxy_loop, 508, "proxy_loop_detected", 1, 80, 2},
      {Reason::internal, 500, "proxy_internal_error", 1, 80, 2},
      {Reason::dns_failed, 502, "dns_error", 4, 0, 2},
      {Reason::dns_timeout, 504, "dns_timeout", 4, 0, 2},
      {Reason::connect_refused, 502, "connection_refused", 5, 0, 2},
      {Reason::connect_timeout, 504, "connection_timeout", 4, 0, 2},
      {Reason::unreachable, 502, "destination_ip_unroutable", 4, 0, 2},
      {Reason::origin_tls_failed, 502, "tls_protocol_error", 1, 0, 2},
  };
  EXPECT_EQ(std::size(rows), reason_count - 3) << "every reason but the allowed ones has a row";
  for (const Row& row : rows) {
    const Answer& answer = answer_for(row.reason);
    EXPECT_EQ(answer.http_status, row.http) << reason_name(row.reason);
    EXPECT_EQ(answer.proxy_status, row.proxy_status) << reason_name(row.reason);
    EXPECT_EQ(static_cast<int>(answer.socks), row.socks) << reason_name(row.reason);
    EXPECT_EQ(answer.tls_alert.value_or(0), row.tls) << reason_name(row.reason);
    EXPECT_EQ(static_cast<int>(answer.dns), row.dns) << reason_name(row.reason);
  }
}

TEST(HttpRefusal, SaysWhoRefusedWhyAndWhatToDo) {
  const std::string text = sentence(refusal(Reason::not_listed)) + "\n";
  std::string out = http_refusal(refusal(Reason::not_listed), AsJson::no, KeepAlive::no);
  const std::string date = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
  EXPECT_EQ(out.find("Date: "), std::string_view("HTTP/1.1 403 Forbidden\r\n").size());
  out.erase(out.find("Date: "), date.size());
  EXPECT_EQ(out,
            "HTTP/1.1 403 Forbidden\r\n"
            "Proxy-Status: sluice; error=http_request_denied; details=\"not_listed\"\r\n"
            "Cache-Control: no-store\r\n"
            "Content-Type: text/plain; charset=utf-8\r\n"
            "Content-Length: " +
                std::to_string(text.size()) +
                "\r\n"
                "Connection: close\r\n\r\n" +
                text);
}

TEST(HttpDate, IsWrittenAsTheStandardHasIt) {
  const std::chrono::sys_seconds example(std::chrono::seconds(784111777));
  EXPECT_EQ(http_date(example), "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_EQ(http_date(std::chrono::sys_seconds{}), "Thu, 01 Jan 1970 00:00:00 GMT");
}

TEST(HttpRefusal, IsOneWholeMessageForEveryReason) {
  for (std::size_t i = 0; i < reason_count; ++i) {
    for (const AsJson as_json : {AsJson::yes, AsJson::no}) {
      const auto reason = static_cast<Reason>(i);
      const std::string out = http_refusal(refusal(reason), as_json, KeepAlive::yes);
      const ResponseHead head = samples::response(out);
      EXPECT_EQ(head.status, answer_for(reason).http_status);
      EXPECT_EQ(head.find("content-length"), std::to_string(out.size() - head.size));
      const bool closes = head.status == 408;
      EXPECT_EQ(head.find("connection"), closes ? "close" : "keep-alive") << head.status;
      EXPECT_EQ(head.count("proxy-authenticate"), head.status == 407 ? 1U : 0U);
    }
  }
}

TEST(HttpRefusal, ForWantOfAPasswordNamesTheSchemeAndMayKeepTheConnection) {
  const Refusal wanted = refusal(Reason::auth_required);
  const std::string out = http_refusal(wanted, AsJson::no, KeepAlive::yes);
  const ResponseHead head = samples::response(out);
  EXPECT_EQ(head.status, 407);
  EXPECT_EQ(head.find("proxy-authenticate"), "Basic realm=\"sluice\", charset=\"UTF-8\"");
  EXPECT_EQ(head.find("proxy-status"),
            "sluice; error=http_request_denied; details=\"auth_required\"");
  EXPECT_EQ(head.find("connection"), "keep-alive");
  const std::string to_connect = http_refusal(wanted, AsJson::no, KeepAlive::no);
  EXPECT_EQ(samples::response(to_connect).find("connection"), "close");
}

TEST(HttpRefusal, ToHeadHasNoBody) {
  const std::string out =
      http_refusal(refusal(Reason::never), AsJson::no, KeepAlive::yes, ForHead::yes);
  EXPECT_TRUE(out.ends_with("\r\n\r\n"));
}

TEST(HttpRefusal, InJsonSurvivesWhateverTheAgentSpelled) {
  Refusal odd = refusal(Reason::bad_host);
  odd.target = "a\"\r\n\x1b[31m\\\xff\xe2\x80\xae";
  const std::string out = http_refusal(odd, AsJson::yes, KeepAlive::no);
  const auto body = nlohmann::json::parse(out.substr(out.find("\r\n\r\n") + 4));
  EXPECT_EQ(body.at("error"), "http_request_error");
  EXPECT_EQ(body.at("reason"), "bad_host");
  EXPECT_EQ(body.at("target"), "a\"\r\n\x1b[31m\\\xef\xbf\xbd\xe2\x80\xae");
  EXPECT_NE(body.at("message").get<std::string>().find("\\x1b[31m"), std::string::npos);
}

TEST(HttpRefusal, IsJsonWhenAskedFor) {
  struct Case {
    std::string_view accept;
    bool json;
  };
  const Case cases[] = {
      {"application/json", true},
      {"application/json, text/plain, */*", true},
      {"text/html, Application/JSON;q=0.5", true},
      {"application/problem+json", true},
      {"application/json;q=0", false},
      {"application/json; q=0.000", false},
      {"application/json; q=0.001", true},
      {"*/*", false},
      {"text/html", false},
      {"", false},
      {"+json", false},
  };
  for (const Case& c : cases) {
    const std::string bytes =
        "GET / HTTP/1.1\r\nHost: a\r\nAccept: " + std::string(c.accept) + "\r\n\r\n";
    EXPECT_EQ(bool(wants_json(samples::request(bytes))), c.json) << c.accept;
  }
}

TEST(SocksRefusal, IsAReplyOfTenBytes) {
  EXPECT_EQ(socks_refusal(Reason::not_listed), "\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"s);
  EXPECT_EQ(socks_refusal(Reason::connect_refused)[1], 5);
}

TEST(TlsAlert, IsFatalAndSevenBytesLong) {
  EXPECT_EQ(tls_alert(Reason::not_listed), "\x15\x03\x03\x00\x02\x02\x31"s);
  EXPECT_EQ(tls_alert(Reason::internal), "\x15\x03\x03\x00\x02\x02\x50"s);
  EXPECT_EQ(tls_alert(Reason::dns_failed), "");
}

TEST(DnsRefusal, IsNxdomainForWhatThePolicyRefuses) {
  const std::string bytes = samples::dns_header(0, {.additionals = 1}) +
                            samples::dns_question({"other", "example"}, 1) +
                            samples::dns_opt(1232, 0, 0);
  const DnsQuery query = parse_dns_query(as_octets(bytes)).value();
  Refusal refused = refusal(Reason::not_listed);
  refused.target = "other.example";
  const std::string denied = dns_refusal(query, refused, DnsTransport::udp);
  EXPECT_EQ(denied[3] & 15, 3);
  EXPECT_TRUE(denied.ends_with(sentence(refused)));
  EXPECT_EQ(dns_refusal(query, refusal(Reason::bad_host), DnsTransport::udp)[3] & 15, 1);
  EXPECT_EQ(dns_refusal(query, refusal(Reason::rate_limit), DnsTransport::udp)[3] & 15, 2);
}

}  // namespace
}  // namespace sluice::proxy::wire
