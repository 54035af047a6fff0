// An audit line as systemd's journal takes it.
#pragma once

#include <string>
#include <string_view>

namespace sluice::metrics {

// One datagram of the journal's native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/):
// SYSLOG_IDENTIFIER, PRIORITY (4 for what was denied or lost, else 6), MESSAGE, which is `line`
// without a newline, and SLUICE_AGENT, SLUICE_VERDICT and SLUICE_REASON where it has them. `line`
// is what append_json() made: no key of it can stand inside of a text, whose quotes are escaped.
std::string journal_entry(std::string_view line);

}  // namespace sluice::metrics
