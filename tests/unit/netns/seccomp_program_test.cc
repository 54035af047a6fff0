#include "netns/attach/seccomp_program.h"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <vector>

#include "netns/attach/vsock.h"

namespace sluice::netns {
namespace {

constexpr std::uint32_t native = AUDIT_ARCH_X86_64;

seccomp_data call(int number, std::uint64_t first = 0) {
  seccomp_data data{};
  data.nr = number;
  data.arch = native;
  data.args[0] = first;
  return data;
}

sock_filter statement(std::uint16_t code, std::uint32_t k) { return {code, 0, 0, k}; }

TEST(SeccompProgram, ReadsTheNumberTheArchitectureAndTheArguments) {
  const seccomp_data data = call(41, 0x1122334455667788);
  const auto word = [&](std::size_t offset) {
    return run_program({statement(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)),
                        statement(BPF_RET | BPF_A, 0)},
                       data);
  };
  EXPECT_EQ(word(0), 41U);
  EXPECT_EQ(word(4), native);
  EXPECT_EQ(word(16), 0x55667788U);
  EXPECT_EQ(word(20), 0x11223344U);
  EXPECT_FALSE(word(64));
  EXPECT_FALSE(word(2));
}

TEST(SeccompProgram, ComputesAndKeepsWhatItIsTold) {
  struct Case {
    std::uint16_t operation;
    std::uint32_t a, k, expected;
  };
  for (const Case& one :
       {Case{BPF_ADD, 0xffffffff, 2, 1}, Case{BPF_SUB, 1, 2, 0xffffffff}, Case{BPF_MUL, 3, 5, 15},
        Case{BPF_DIV, 17, 5, 3}, Case{BPF_AND, 12, 10, 8}, Case{BPF_OR, 12, 10, 14},
        Case{BPF_XOR, 12, 10, 6}, Case{BPF_LSH, 1, 4, 16}, Case{BPF_RSH, 16, 4, 1},
        Case{BPF_NEG, 1, 0, 0xffffffff}}) {
    const SeccompProgram program{
        statement(BPF_LD | BPF_IMM, one.a),
        statement(static_cast<std::uint16_t>(BPF_ALU | one.operation | BPF_K), one.k),
        statement(BPF_ST, 3),  // by memory and the other register, and back
        statement(BPF_LDX | BPF_MEM, 3),
        statement(BPF_LD | BPF_IMM, 0),
        statement(BPF_MISC | BPF_TXA, 0),
        statement(BPF_RET | BPF_A, 0)};
    EXPECT_EQ(run_program(program, call(0)), one.expected) << one.operation;
  }
}

TEST(SeccompProgram, WhatItDoesNotUnderstandIsAnErrorAndNoPermission) {
  const auto fails = [](const SeccompProgram& program) { return !run_program(program, call(0)); };
  EXPECT_TRUE(fails({}));
  EXPECT_TRUE(fails({statement(BPF_LD | BPF_IMM, 1)}));  // no return
  EXPECT_TRUE(fails({statement(BPF_LD | BPF_W | BPF_IND, 0), statement(BPF_RET | BPF_K, 0)}));
  EXPECT_TRUE(fails({statement(BPF_ALU | BPF_DIV | BPF_K, 0), statement(BPF_RET | BPF_K, 0)}));
  EXPECT_TRUE(fails({statement(BPF_ST, 16), statement(BPF_RET | BPF_K, 0)}));
  EXPECT_TRUE(fails({statement(BPF_JMP | BPF_JA, 0xffffff), statement(BPF_RET | BPF_K, 0)}));
}

TEST(SeccompProgram, TheStrictestOfAllFiltersWins) {
  const auto always = [](std::uint32_t action) {
    return SeccompProgram{statement(BPF_RET | BPF_K, action)};
  };
  const std::array strictness{SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_TRAP,
                              SECCOMP_RET_ERRNO,        SECCOMP_RET_USER_NOTIF,  SECCOMP_RET_TRACE,
                              SECCOMP_RET_LOG,          SECCOMP_RET_ALLOW};
  for (std::size_t i = 0; i < strictness.size(); ++i) {
    for (std::size_t j = i; j < strictness.size(); ++j) {
      EXPECT_EQ(run_programs({always(strictness[i]), always(strictness[j])}, call(0)),
                strictness[i]);
      EXPECT_EQ(run_programs({always(strictness[j]), always(strictness[i])}, call(0)),
                strictness[i]);
    }
    EXPECT_EQ(refuses(strictness[i] | 1), i < 4) << i;
  }
  EXPECT_EQ(run_programs({}, call(0)), SECCOMP_RET_ALLOW);
}

SeccompProgram program_of(scmp_filter_ctx filter) {
  std::FILE* const file = std::tmpfile();
  EXPECT_EQ(::seccomp_export_bpf(filter, ::fileno(file)), 0);
  SeccompProgram program(4096);
  std::rewind(file);
  program.resize(std::fread(program.data(), sizeof(sock_filter), program.size(), file));
  std::fclose(file);
  return program;
}

// The kernel takes the low half of the argument for the family: 40 + 2^32 is AF_VSOCK.
TEST(VsockWays, PassAFilterThatComparesTheWholeArgument) {
  const std::vector<VsockWay> ways = vsock_ways();
  if (ways.empty()) GTEST_SKIP() << "the kernel has no AF_VSOCK";
  for (const bool is_masked : {false, true}) {
    const std::unique_ptr<void, void (*)(scmp_filter_ctx)> filter(::seccomp_init(SCMP_ACT_ALLOW),
                                                                  &::seccomp_release);
    const auto condition = is_masked ? SCMP_A0(SCMP_CMP_MASKED_EQ, 0xffffffff, AF_VSOCK)
                                     : SCMP_A0(SCMP_CMP_EQ, AF_VSOCK, 0);
    ASSERT_EQ(::seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(1), SCMP_SYS(socket), 1, condition),
              0);
    const SeccompProgram program = program_of(filter.get());
    bool is_passed = false;
    for (const VsockWay& way : ways) {
      if (way.name != "socket") continue;
      is_passed |= !refuses(run_program(program, way.call).value_or(0));
    }
    EXPECT_EQ(is_passed, !is_masked);
  }
}

// The oracle: what libseccomp says that its own program does.
TEST(SeccompProgram, JudgesAsAFilterOfLibseccompWasMeant) {
  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> filter(::seccomp_init(SCMP_ACT_ALLOW),
                                                                &::seccomp_release);
  for (const int family : {AF_VSOCK, AF_PACKET}) {
    ASSERT_EQ(::seccomp_rule_add(filter.get(), SCMP_ACT_ERRNO(1), SCMP_SYS(socket), 1,
                                 SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(family))),
              0);
  }
  ASSERT_EQ(::seccomp_rule_add(filter.get(), SCMP_ACT_KILL, SCMP_SYS(keyctl), 0), 0);
  const SeccompProgram program = program_of(filter.get());
  const auto action = [&](int number, std::uint64_t first) {
    seccomp_data data = call(number, first);
    data.arch = ::seccomp_arch_native();
    return run_program(program, data).value_or(0);
  };
  const int socket_number = SCMP_SYS(socket);
  EXPECT_TRUE(refuses(action(socket_number, AF_VSOCK)));
  EXPECT_TRUE(refuses(action(socket_number, AF_PACKET)));
  EXPECT_FALSE(refuses(action(socket_number, AF_INET)));
  EXPECT_FALSE(refuses(action(socket_number, AF_VSOCK + 1)));
  EXPECT_TRUE(refuses(action(SCMP_SYS(keyctl), 0)));
  EXPECT_FALSE(refuses(action(SCMP_SYS(read), AF_VSOCK)));
}

}  // namespace
}  // namespace sluice::netns
