#include "launcher/doctor/sandbox_findings.h"

#include <fmt/core.h>

#include <cerrno>
#include <string>
#include <utility>

namespace sluice::launcher::doctor {
namespace {

using End = Attempt::End;

constexpr const char* modules = "modprobe -a nf_tables nft_tproxy nft_objref nft_reject_inet";
constexpr const char* in_a_container =
    "in a container: start it with --security-opt seccomp=unconfined --security-opt "
    "systempaths=unconfined";
constexpr const char* visible_proc =
    "in a container: start it with --security-opt systempaths=unconfined (podman: --security-opt "
    "unmask=ALL)";

Finding missing(Finding finding, std::string means, std::string mend) {
  finding.state = State::missing;
  finding.means = std::move(means);
  finding.mend = std::move(mend);
  return finding;
}

Finding unknown(Finding finding, std::string means) {
  finding.state = State::unknown;
  finding.means = std::move(means);
  return finding;
}

// ENOSPC of unshare(2): a limit of user namespaces, or of network namespaces.
Finding judge_full(const NamespaceSettingsFact& settings, Finding finding) {
  if (settings.max_net_namespaces == "0") {
    return missing(std::move(finding),
                   "user.max_net_namespaces is 0: nobody can make a network namespace",
                   "sysctl -w user.max_net_namespaces=15000");
  }
  const std::string& most = settings.max_user_namespaces;
  return missing(
      std::move(finding),
      fmt::format("user.max_user_namespaces is {}: no more user namespaces, also for root",
                  most.empty() ? "used up" : most),
      "sysctl -w user.max_user_namespaces=15000");
}

// unshare(2)
Finding judge_unshare(const Facts& facts, Finding finding) {
  const NamespaceSettingsFact& settings = facts.settings;
  const int error_number = facts.sandbox.user_namespace.error_number;
  if (error_number == ENOSPC) return judge_full(settings, std::move(finding));
  if (error_number == EAGAIN) {
    return missing(std::move(finding),
                   fmt::format("no process can be started ({})", facts.sandbox.user_namespace.what),
                   "ulimit -u, or the pids.max of the cgroup");
  }
  if (error_number == EUSERS) {
    return missing(std::move(finding),
                   "user namespaces are nested too deeply here (32 are the limit)",
                   "start sluice outside of some of them");
  }
  if (error_number == EINVAL) {
    return missing(std::move(finding),
                   "this kernel has no user namespaces, or no network namespaces",
                   "boot a kernel with CONFIG_USER_NS and CONFIG_NET_NS");
  }
  if (settings.unprivileged_userns_clone == "0") {
    return missing(std::move(finding),
                   "user namespaces are for root only here (kernel.unprivileged_userns_clone)",
                   "sysctl -w kernel.unprivileged_userns_clone=1");
  }
  return missing(std::move(finding),
                 fmt::format("something around sluice forbids user namespaces ({})",
                             facts.sandbox.user_namespace.what),
                 in_a_container);
}

// The write of uid_map: Ubuntu's AppArmor lets unshare(2) pass and refuses here.
Finding judge_map(const Facts& facts, Finding finding) {
  if (facts.sandbox.user_map.error_number == EROFS) {
    return missing(std::move(finding),
                   "/proc is read-only here: a user namespace cannot be given an id", visible_proc);
  }
  if (facts.sandbox.user_map.error_number == ENOENT) {
    return missing(std::move(finding), "there is no /proc: a user namespace cannot be given an id",
                   "mount -t proc proc /proc");
  }
  if (facts.settings.apparmor_restrict == "1") {
    return missing(
        std::move(finding),
        "AppArmor takes every right from a user namespace whose program has no profile with "
        "'userns,' (kernel.apparmor_restrict_unprivileged_userns)",
        "give sluice such a profile, or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0");
  }
  return missing(
      std::move(finding),
      fmt::format("a user namespace cannot be given an id ({})", facts.sandbox.user_map.what),
      in_a_container);
}

// Of an attempt that did not work: its own words.
Finding judge_failure(const Attempt& attempt, Finding finding, const char* subject) {
  if (attempt.end == End::no_answer) {
    return unknown(std::move(finding),
                   fmt::format("{} could not be tried: no answer in time", subject));
  }
  return missing(std::move(finding), fmt::format("{} failed: {}", subject, attempt.what),
                 attempt.hint);
}

}  // namespace

Finding judge_user_namespaces(const Facts& facts) {
  Finding finding{"user namespaces", State::ok, {}, {}, Required::yes};
  const SandboxFact& tried = facts.sandbox;
  if (tried.host_id.end == End::failed) {
    return missing(std::move(finding),
                   "root cannot give an agent an id of its own: this root is a container's",
                   "run sluice as an ordinary user there");
  }
  if (tried.user_namespace.end == End::failed) return judge_unshare(facts, std::move(finding));
  if (tried.user_map.end == End::failed) return judge_map(facts, std::move(finding));
  if (tried.user_map.end != End::worked) {
    return unknown(std::move(finding),
                   "whether a user namespace can be made was not answered in time");
  }
  finding.means = fmt::format("{} can enclose an agent in user and network namespaces of its own",
                              facts.is_root() ? "root" : "an ordinary user");
  return finding;
}

Finding judge_sandbox(const Facts& facts) {
  Finding finding{"sandbox", State::ok, {}, {}, Required::yes};
  const SandboxFact& tried = facts.sandbox;
  if (tried.user_map.end != End::worked) {
    return unknown(std::move(finding), "it was not tried: it needs user namespaces");
  }
  if (tried.kernel_files.end == End::failed) {
    return missing(
        std::move(finding),
        "a part of /proc is covered here, as container engines do: an agent cannot be given "
        "a /proc of its own",
        visible_proc);
  }
  if (tried.namespaces.end != End::worked) {
    return judge_failure(tried.namespaces, std::move(finding), "making an agent's namespaces");
  }
  if (tried.root_copy.end != End::worked) {
    return judge_failure(tried.root_copy, std::move(finding), "copying the root read-only");
  }
  // It comes after the network, which has a finding of its own.
  if (tried.network.end == End::worked && tried.nested.end != End::worked) {
    return judge_failure(tried.nested, std::move(finding), "making a second user namespace");
  }
  finding.means = "an agent gets namespaces, a read-only root and a /proc of its own";
  return finding;
}

Finding judge_network(const Facts& facts) {
  Finding finding{"network", State::ok, {}, {}, Required::yes};
  const SandboxFact& tried = facts.sandbox;
  if (tried.kernel_files.end != End::worked) {
    return unknown(std::move(finding), "it was not tried: the sandbox before it failed");
  }
  if (tried.network.end != End::worked) {
    finding = judge_failure(tried.network, std::move(finding), "making an agent's network");
    if (finding.mend.empty() && finding.state == State::missing) finding.mend = modules;
    return finding;
  }
  if (tried.captured) {
    finding.means = "every port of every address leads to the agent's proxy (nf_tables, tproxy)";
    return finding;
  }
  finding.state = State::limited;
  finding.means =
      "without nf_tables 'sluice run' works with the ports that the policy names and no others; "
      "named networks and pods (sluice-netns) do not work";
  finding.mend = modules;
  return finding;
}

}  // namespace sluice::launcher::doctor
