#include "proxy/session/hello.h"

#include <gtest/gtest.h>

namespace sluice::proxy {
namespace {

TEST(ClientHello, MustNameTheHostThatWasAllowed) {
  const auto name = *allowlists::Host::parse("allowed.test");
  const auto address = *allowlists::Host::parse("192.0.2.1");
  const allowlists::Decision any;
  allowlists::Decision no_ech;
  no_ech.refuse_ech = true;
  struct Case {
    std::optional<std::string> sni;
    bool ech;
    const allowlists::Host& target;
    const allowlists::Decision& decision;
    std::optional<Reason> fault;
  };
  for (const Case& test : {
           Case{"allowed.test", false, name, any, std::nullopt},
           {"ALLOWED.test.", false, name, any, std::nullopt},
           {"evil.test", false, name, any, Reason::sni_mismatch},
           {"allowed.test.evil.test", false, name, any, Reason::sni_mismatch},
           {std::string("allowed.test\0.evil.test", 23), false, name, any, Reason::bad_host},
           {"allowed.test..", false, name, any, Reason::bad_host},
           {"192.0.2.1", false, name, any, Reason::sni_mismatch},
           {std::nullopt, false, name, any, Reason::sni_missing},
           {"allowed.test", true, name, any, std::nullopt},
           {"allowed.test", true, name, no_ech, Reason::ech_present},
           {std::nullopt, false, address, any, std::nullopt},
           {"192.0.2.1", false, address, any, std::nullopt},
           {"allowed.test", false, address, any, Reason::sni_mismatch},
       }) {
    const wire::ClientHello hello{test.sni, test.ech};
    EXPECT_EQ(hello_fault(hello, test.target, test.decision), test.fault)
        << test.sni.value_or("no SNI");
  }
}

}  // namespace
}  // namespace sluice::proxy
