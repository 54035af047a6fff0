#include "netns/containers/cni.h"

#include <fmt/core.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "base/io.h"
#include "base/sha256.h"
#include "base/text.h"
#include "netns/containers/cni_reply.h"
#include "netns/named/kept.h"
#include "netns/named/lease.h"

namespace sluice::netns {
namespace {

using Unexpected = tl::unexpected<CniError>;

Unexpected fail_cni(const Error& error) { return Unexpected(to_cni_error(error)); }

std::string digest_of(const CniRequest& request) {
  // None of them can have a newline.
  return sha256_hex(fmt::format("{}\n{}\n{}", request.network, request.attachment.container,
                                request.attachment.ifname),
                    32);
}

// A question that changes nothing, and whose answer does not matter.
Result<void> ask_proxy(const std::string& proxy) {
  constexpr int patience_ms = 5000;
  const auto link = connect_proxy(proxy);
  if (!link) return Failure(link.error());
  if (auto sent = send_packet(link->get(), encode(AskPorts{"status"})); !sent) return sent;
  pollfd wait{link->get(), POLLIN, 0};
  if (::poll(&wait, 1, patience_ms) == 1) {
    const auto packet = receive_packet(link->get());
    if (packet && *packet && !(*packet)->closed) return {};
  }
  return fail(Errc::unavailable,
              fmt::format("sluiced at '{}' does not answer", text::printable(proxy)),
              "look at its log");
}

CniResult<std::string> run(const CniRequest& request) {
  if (request.command == CniCommand::version) return version_result(request.version);
  const auto folder = StateFolder::open();
  if (!folder) return fail_cni(folder.error());
  switch (request.command) {
    case CniCommand::add:
      return cni_add(request, *folder);
    case CniCommand::del:
      return cni_del(request, *folder);
    case CniCommand::check:
      return cni_check(request, *folder);
    case CniCommand::gc:
      return cni_gc(request, *folder);
    default:
      return cni_status(request, *folder);
  }
}

// The runtime's JSON is read where it is needed; what has another type there ends here.
CniResult<std::string> run_guarded(const CniRequest& request) {
  try {
    return run(request);
  } catch (const nlohmann::json::exception& error) {
    return Unexpected(CniError{CniError::decoding_failure, error.what(), ""});
  }
}

CniResult<CniRequest> read_request() {
  const auto config = read_fd(STDIN_FILENO, "stdin", max_cni_config);
  if (!config) {
    return Unexpected(CniError{CniError::io_failure, config.error().what, config.error().hint});
  }
  return read_cni_request(read_cni_environment(), *config);
}

CniResult<void> remove_state(const StateFolder& folder, const LeaseState& state) {
  if (auto removed = remove_network(folder, state); !removed) return fail_cni(removed.error());
  return {};
}

}  // namespace

std::string cni_state_id(const CniRequest& request) {
  constexpr std::size_t readable = 32;
  return fmt::format("{}-{}", request.attachment.container.substr(0, readable), digest_of(request));
}

std::string cni_node_table(const CniRequest& request) { return "sluice_" + digest_of(request); }

CniResult<std::string> cni_del(const CniRequest& request, const StateFolder& folder) {
  const auto lock = folder.lock();
  if (!lock) return fail_cni(lock.error());
  const std::string id = cni_state_id(request);
  const auto state = folder.read(LeaseState::Kind::cni, id);
  if (!state) return fail_cni(state.error());
  if (!*state) {
    // Nothing is made before its state is written: that of a killed ADD may have been begun.
    const auto removed = folder.remove(LeaseState::Kind::cni, id);
    return removed ? CniResult<std::string>("") : fail_cni(removed.error());
  }
  return remove_state(folder, **state).map([] { return std::string(); });
}

CniResult<std::string> cni_gc(const CniRequest& request, const StateFolder& folder) {
  const auto lock = folder.lock();
  if (!lock) return fail_cni(lock.error());
  const auto listing = folder.list();
  if (!listing) return fail_cni(listing.error());
  CniResult<std::string> answer = "";
  for (const LeaseState& state : listing->states) {
    if (state.kind != LeaseState::Kind::cni) continue;
    const auto fact = [&](const char* key) {
      const auto found = state.facts.find(key);
      return found == state.facts.end() ? std::string() : found->second;
    };
    if (fact("network") != request.network) continue;
    const CniAttachment attachment{fact("container"), fact("ifname")};
    const bool valid =
        std::find(request.valid.begin(), request.valid.end(), attachment) != request.valid.end();
    if (valid) continue;
    // The others are removed all the same.
    if (auto removed = remove_state(folder, state); !removed) answer = Unexpected(removed.error());
  }
  return answer;
}

CniResult<std::string> cni_status(const CniRequest& request, const StateFolder& folder) {
  const auto asked = ask_proxy(request.proxy);
  if (asked) return "";
  const auto listing = folder.list();
  const bool has_pods =
      listing && std::any_of(listing->states.begin(), listing->states.end(),
                             [](const auto& one) { return one.kind == LeaseState::Kind::cni; });
  return Unexpected(CniError{has_pods ? CniError::limited_connectivity : CniError::not_available,
                             asked.error().what, asked.error().hint});
}

int cni_main() {
  const auto request = read_request();
  const CniResult<std::string> answer =
      request ? run_guarded(*request) : CniResult<std::string>(Unexpected(request.error()));
  const std::string printed =
      answer ? *answer : error_result(answer.error(), request ? request->version : "1.1.0");
  if (!write_all(STDOUT_FILENO, "stdout", printed)) return 1;
  return answer ? 0 : 1;
}

}  // namespace sluice::netns
