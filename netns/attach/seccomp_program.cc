#include "netns/attach/seccomp_program.h"

#include <array>
#include <cstring>
#include <optional>

namespace sluice::netns {
namespace {

Failure not_understood() {
  return fail(Errc::unavailable, "a seccomp filter has an instruction that is not understood");
}

class Machine {
 public:
  explicit Machine(const seccomp_data& call) { std::memcpy(words_.data(), &call, sizeof(call)); }

  // The value of a return; nothing: on to program_counter().
  Result<std::optional<std::uint32_t>> step(const sock_filter& instruction);
  std::size_t program_counter() const noexcept { return at_; }

 private:
  bool load(const sock_filter& instruction, std::uint32_t& into);
  bool compute(const sock_filter& instruction);
  bool jump(const sock_filter& instruction);
  std::uint32_t operand(const sock_filter& instruction) const {
    return BPF_SRC(instruction.code) == BPF_X ? x_ : instruction.k;
  }

  std::array<std::uint32_t, sizeof(seccomp_data) / 4> words_{};
  std::array<std::uint32_t, BPF_MEMWORDS> memory_{};
  std::uint32_t a_ = 0;
  std::uint32_t x_ = 0;
  std::size_t at_ = 0;
};

bool Machine::load(const sock_filter& instruction, std::uint32_t& into) {
  const std::uint32_t k = instruction.k;
  switch (BPF_MODE(instruction.code)) {
    case BPF_ABS:
      if (k % 4 != 0 || k / 4 >= words_.size()) return false;
      into = words_[k / 4];
      return true;
    case BPF_LEN:
      into = sizeof(seccomp_data);
      return true;
    case BPF_IMM:
      into = k;
      return true;
    case BPF_MEM:
      if (k >= memory_.size()) return false;
      into = memory_[k];
      return true;
    default:
      return false;
  }
}

bool Machine::compute(const sock_filter& instruction) {
  const std::uint32_t value = operand(instruction);
  switch (BPF_OP(instruction.code)) {
    case BPF_ADD:
      a_ += value;
      return true;
    case BPF_SUB:
      a_ -= value;
      return true;
    case BPF_MUL:
      a_ *= value;
      return true;
    case BPF_DIV:
      if (value == 0) return false;
      a_ /= value;
      return true;
    case BPF_AND:
      a_ &= value;
      return true;
    case BPF_OR:
      a_ |= value;
      return true;
    case BPF_XOR:
      a_ ^= value;
      return true;
    case BPF_LSH:
      a_ = value < 32 ? a_ << value : 0;
      return true;
    case BPF_RSH:
      a_ = value < 32 ? a_ >> value : 0;
      return true;
    case BPF_NEG:
      a_ = 0U - a_;
      return true;
    default:
      return false;
  }
}

bool Machine::jump(const sock_filter& instruction) {
  const std::uint32_t value = operand(instruction);
  bool holds = false;
  switch (BPF_OP(instruction.code)) {
    case BPF_JA:
      at_ += instruction.k;
      return true;
    case BPF_JEQ:
      holds = a_ == value;
      break;
    case BPF_JGT:
      holds = a_ > value;
      break;
    case BPF_JGE:
      holds = a_ >= value;
      break;
    case BPF_JSET:
      holds = (a_ & value) != 0;
      break;
    default:
      return false;
  }
  at_ += holds ? instruction.jt : instruction.jf;
  return true;
}

Result<std::optional<std::uint32_t>> Machine::step(const sock_filter& instruction) {
  ++at_;
  bool understood = true;
  switch (BPF_CLASS(instruction.code)) {
    case BPF_LD:
      understood = load(instruction, a_);
      break;
    case BPF_LDX:
      understood = BPF_MODE(instruction.code) != BPF_ABS && load(instruction, x_);
      break;
    case BPF_ST:
    case BPF_STX:
      understood = instruction.k < memory_.size();
      if (understood) memory_[instruction.k] = BPF_CLASS(instruction.code) == BPF_ST ? a_ : x_;
      break;
    case BPF_ALU:
      understood = compute(instruction);
      break;
    case BPF_JMP:
      understood = jump(instruction);
      break;
    case BPF_RET:
      return std::optional(BPF_RVAL(instruction.code) == BPF_A ? a_ : instruction.k);
    default:  // BPF_MISC
      (BPF_MISCOP(instruction.code) == BPF_TAX ? x_ : a_) =
          BPF_MISCOP(instruction.code) == BPF_TAX ? a_ : x_;
      break;
  }
  if (!understood) return not_understood();
  return std::nullopt;
}

// As the kernel compares them (kernel/seccomp.c, ACTION_ONLY): the smaller signed value is
// stricter, SECCOMP_RET_KILL_PROCESS is the smallest.
std::int32_t rank(std::uint32_t action) noexcept {
  return static_cast<std::int32_t>(action & SECCOMP_RET_ACTION_FULL);
}

}  // namespace

Result<std::uint32_t> run_program(const SeccompProgram& program, const seccomp_data& call) {
  Machine machine(call);
  // Jumps only go forward: each instruction runs at most once.
  while (machine.program_counter() < program.size()) {
    const auto value = machine.step(program[machine.program_counter()]);
    if (!value) return Failure(value.error());
    if (*value) return **value;
  }
  return not_understood();
}

Result<std::uint32_t> run_programs(const std::vector<SeccompProgram>& programs,
                                   const seccomp_data& call) {
  std::uint32_t strictest = SECCOMP_RET_ALLOW;
  for (const SeccompProgram& program : programs) {
    const auto action = run_program(program, call);
    if (!action) return action;
    if (rank(*action) < rank(strictest)) strictest = *action;
  }
  return strictest;
}

bool refuses(std::uint32_t action) noexcept {
  switch (action & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_USER_NOTIF:
    case SECCOMP_RET_TRACE:
    case SECCOMP_RET_LOG:
    case SECCOMP_RET_ALLOW:
      return false;
    default:  // the kernel kills for an action that it does not know
      return true;
  }
}

}  // namespace sluice::netns
