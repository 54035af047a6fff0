#include "launcher/arguments.h"

#include <gtest/gtest.h>

namespace sluice::launcher {
namespace {

TEST(RunArguments, EndAtTheFirstDoubleDash) {
  const Command command = parse_arguments({"run", "--policy", "p.yaml", "--bind", "/a", "--bind",
                                           "/b:rw", "--env", "K=V=W", "--timeout", "5s", "--quiet",
                                           "--", "ls", "--all", "--", "--policy"});
  const auto* const run = std::get_if<RunOptions>(&command);
  ASSERT_NE(run, nullptr);
  EXPECT_EQ(run->policy, "p.yaml");
  ASSERT_EQ(run->binds.size(), 2U);
  EXPECT_EQ(run->binds[1].access, Access::read_write);
  EXPECT_EQ(run->environment.front().second, "V=W");
  EXPECT_EQ(run->timeout, std::chrono::seconds(5));
  EXPECT_TRUE(run->quiet);
  EXPECT_FALSE(run->agent);
  EXPECT_EQ(run->command, (std::vector<std::string>{"ls", "--all", "--", "--policy"}));
}

TEST(RunArguments, AreAUsageErrorWhenNotUnderstood) {
  const std::vector<std::vector<std::string>> cases = {
      {"run"},
      {"run", "--"},
      {"run", "--", ""},
      {"run", "ls"},
      {"run", "ls", "--", "ls"},
      {"run", "--memory", "1K", "--", "ls"},
      {"run", "--cpus", "none", "--", "ls"},
      {"run", "--pids", "-1", "--", "ls"},
      {"run", "--root", "--", "ls"},
      {"run", "--report=maybe", "--", "ls"},
      {"run", "--json", "--", "ls"},
      {"run", "--allow", "--", "ls"},
      {"run", "--allow", "a.example", "b.example", "--", "ls"},
      {"run", "--policy", "a", "--policy", "b", "--", "ls"},
      {"run", "--policy", "--", "ls"},
      {"run", "--bind", "", "--", "ls"},
      {"run", "--tmpfs", "x", "--", "ls"},
      {"run", "--env", "K", "--", "ls"},
      {"run", "--timeout", "0s", "--", "ls"},
  };
  for (const auto& words : cases) {
    const Command command = parse_arguments(words);
    const auto* const farewell = std::get_if<Farewell>(&command);
    ASSERT_NE(farewell, nullptr) << words.back();
    EXPECT_EQ(farewell->status, 125);
    EXPECT_EQ(farewell->out, "");
    EXPECT_TRUE(farewell->err.starts_with("sluice: error: ")) << farewell->err;
    EXPECT_NE(farewell->err.find("\nhint: "), std::string::npos) << farewell->err;
  }
}

TEST(Arguments, SayWhichWordIsWrongAndWhatWasPerhapsMeant) {
  const auto said = [](const std::vector<std::string>& words) {
    const Command command = parse_arguments(words);
    const auto* const farewell = std::get_if<Farewell>(&command);
    return farewell == nullptr ? "" : farewell->err;
  };
  EXPECT_EQ(said({"run", "--polcy", "p.yaml", "--", "ls"}),
            "sluice: error: there is no option '--polcy'\nhint: did you mean '--policy'?\n");
  EXPECT_EQ(said({"run", "--quiet", "claude", "--verbose"}),
            "sluice: error: 'claude' is no option of sluice run\n"
            "hint: if it is the command, put it behind '--': sluice run [OPTIONS] -- CMD...\n");
  EXPECT_EQ(said({"top", "--onec"}),
            "sluice: error: there is no option '--onec'\nhint: did you mean '--once'?\n");
  EXPECT_EQ(said({"policy", "explain"}),
            "sluice: error: FILE is required\n"
            "hint: 'sluice policy explain --help' shows what it takes\n");
}

TEST(ProveArguments, AreThoseOfRunWithoutACommand) {
  const Command command = parse_arguments({"prove", "--policy", "p.yaml", "--tmpfs", "/x:1MiB",
                                           "--timeout", "5s", "--report", "--json"});
  const auto* const prove = std::get_if<ProveOptions>(&command);
  ASSERT_NE(prove, nullptr);
  EXPECT_TRUE(prove->json);
  EXPECT_EQ(prove->run.policy, "p.yaml");
  EXPECT_EQ(prove->run.tmpfs.size(), 1U);
  EXPECT_EQ(prove->run.timeout, std::chrono::seconds(5));
  EXPECT_TRUE(prove->run.report);
  EXPECT_TRUE(prove->run.command.empty());
  for (const auto& words : std::vector<std::vector<std::string>>{
           {"prove", "--", "ls"}, {"prove", "ls"}, {"prove", "--tmpfs", "x"}}) {
    const Command refused = parse_arguments(words);
    const auto* const farewell = std::get_if<Farewell>(&refused);
    ASSERT_NE(farewell, nullptr) << words.back();
    EXPECT_EQ(farewell->status, 125);
  }
}

TEST(RunArguments, KeepEachAllowAsItWasTyped) {
  const Command command =
      parse_arguments({"run", "--allow", "a.example:443", "--allow=[2001:db8::1]", "--allow",
                       "[a.example,b.example]", "--report", "--", "ls"});
  const auto* const run = std::get_if<RunOptions>(&command);
  ASSERT_NE(run, nullptr);
  EXPECT_EQ(run->allow,
            (std::vector<std::string>{"a.example:443", "[2001:db8::1]", "[a.example,b.example]"}));
  EXPECT_TRUE(run->report);
  EXPECT_TRUE(run->log_exec);
}

TEST(RunArguments, ChooseATerminal) {
  const auto chosen = [](const std::vector<std::string>& options) {
    std::vector<std::string> words{"run"};
    words.insert(words.end(), options.begin(), options.end());
    words.insert(words.end(), {"--", "ls"});
    return parse_arguments(words);
  };
  EXPECT_EQ(std::get<RunOptions>(chosen({})).tty, Tty::as_caller);
  EXPECT_EQ(std::get<RunOptions>(chosen({"--tty", "auto"})).tty, Tty::as_caller);
  EXPECT_EQ(std::get<RunOptions>(chosen({"--tty=yes"})).tty, Tty::yes);
  EXPECT_EQ(std::get<RunOptions>(chosen({"--tty", "no", "--detach"})).tty, Tty::no);
  EXPECT_EQ(std::get<Farewell>(chosen({"--tty", "maybe"})).err,
            "sluice: error: 'maybe' is not a choice of terminal\n"
            "hint: --tty auto, --tty yes or --tty no\n");
  EXPECT_EQ(std::get<Farewell>(chosen({"--tty", "yes", "--detach"})).err,
            "sluice: error: there is no terminal in the background\n"
            "hint: leave --tty yes or --detach out\n");
}

TEST(RunArguments, SayHowToNameTheCommand) {
  const Command command = parse_arguments({"run", "--quiet"});
  EXPECT_EQ(std::get<Farewell>(command).err,
            "sluice: error: no command to run\nhint: put it behind '--': sluice run [OPTIONS] -- "
            "CMD...\n");
}

TEST(PolicyArguments, AreCheckAndExplain) {
  for (const auto& words : std::vector<std::vector<std::string>>{
           {"policy", "check", "a.yaml", "b.yaml"},
           {"policy", "explain", "p.yaml", "coder-1", "api.example.com", "--json"}}) {
    const Command command = parse_arguments(words);
    ASSERT_TRUE(std::holds_alternative<PolicyAction>(command)) << words[1];
    EXPECT_TRUE(std::get<PolicyAction>(command).run);
  }
  for (const auto& words :
       std::vector<std::vector<std::string>>{{"policy"},
                                             {"policy", "check"},
                                             {"policy", "explain", "p", "a"},
                                             {"policy", "prove", "a", "b"},
                                             {"policy", "explain", "p", "a", "t", "u"},
                                             {},
                                             {"proof"}}) {
    const Command command = parse_arguments(words);
    ASSERT_TRUE(std::holds_alternative<Farewell>(command));
    EXPECT_EQ(std::get<Farewell>(command).status, 2);
  }
}

TEST(AWordThatIsNoCommand, IsNamedWithTheNearestOne) {
  const auto told = [](const std::vector<std::string>& words) {
    return std::get<Farewell>(parse_arguments(words)).err;
  };
  EXPECT_EQ(told({"polcy", "check", "p"}),
            "sluice: error: there is no command 'polcy'\nhint: did you mean 'policy'?\n");
  EXPECT_EQ(told({"policy", "chek", "p"}),
            "sluice: error: there is no command 'chek'\nhint: did you mean 'check'?\n");
  EXPECT_EQ(told({"a\x1b"}),
            "sluice: error: there is no command 'a\\x1b'\n"
            "hint: known here: run, prove, policy, doctor, ps, stop, logs, top, root\n");
  EXPECT_EQ(std::get<Farewell>(parse_arguments({"rn", "--", "true"})).status, 2);
}

TEST(TheVersion, IsOnStandardOutput) {
  const Command command = parse_arguments({"--version"});
  EXPECT_EQ(std::get<Farewell>(command).status, 0);
  EXPECT_EQ(std::get<Farewell>(command).out.substr(0, 7), "sluice ");
  EXPECT_EQ(std::get<Farewell>(command).err, "");
}

}  // namespace
}  // namespace sluice::launcher
