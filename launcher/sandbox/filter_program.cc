#include "launcher/sandbox/filter_program.h"

#include <fmt/core.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/fd.h"
#include "base/io.h"

namespace sluice::launcher {
namespace {

constexpr std::uint32_t no_such_call = SECCOMP_RET_ERRNO | ENOSYS;
constexpr std::size_t largest_export = std::size_t{16} * 1024 * 1024;

std::uint32_t native_architecture() {
  return ::seccomp_arch_native() == SCMP_ARCH_AARCH64 ? AUDIT_ARCH_AARCH64 : AUDIT_ARCH_X86_64;
}

std::uint32_t newest_known_call() {
  std::uint32_t newest = 0;
  for (int number = 0; number < 2048; ++number) {
    const std::unique_ptr<char, decltype(&::free)> name(
        ::seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number), &::free);
    if (name) newest = static_cast<std::uint32_t>(number);
  }
  return newest;
}

// Runs before libseccomp's program. x32 numbers have bit 30 set and are above every known one.
FilterProgram prologue(std::initializer_list<const char*> absent) {
  FilterProgram program{BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
                        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, native_architecture(), 1, 0),
                        BPF_STMT(BPF_RET | BPF_K, no_such_call),
                        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                        BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, newest_known_call(), 0, 1),
                        BPF_STMT(BPF_RET | BPF_K, no_such_call)};
  for (const char* name : absent) {
    const int number = ::seccomp_syscall_resolve_name(name);
    if (number < 0) continue;  // newer than libseccomp: answered above
    program.push_back(
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(number), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, no_such_call));
  }
  return program;
}

// A classic BPF machine as far as seccomp(2) and libseccomp use it.
class Machine {
 public:
  explicit Machine(const seccomp_data& data) : data_(data) {}

  std::uint32_t run(const FilterProgram& program) {
    for (std::size_t at = 0; at < program.size(); ++at) {
      const sock_filter& step = program[at];
      switch (BPF_CLASS(step.code)) {
        case BPF_RET:
          return step.k;
        case BPF_JMP:
          at += BPF_OP(step.code) == BPF_JA ? step.k : holds(step) ? step.jt : step.jf;
          break;
        case BPF_LD:
          load(step);
          break;
        case BPF_ALU:
          if (BPF_OP(step.code) == BPF_AND) accumulator_ &= step.k;
          break;
        case BPF_ST:
          if (step.k < BPF_MEMWORDS) memory_[step.k] = accumulator_;
          break;
        default:
          return SECCOMP_RET_KILL_PROCESS;
      }
    }
    return SECCOMP_RET_KILL_PROCESS;
  }

 private:
  bool holds(const sock_filter& step) const {
    switch (BPF_OP(step.code)) {
      case BPF_JEQ:
        return accumulator_ == step.k;
      case BPF_JGT:
        return accumulator_ > step.k;
      case BPF_JGE:
        return accumulator_ >= step.k;
      default:  // BPF_JSET
        return (accumulator_ & step.k) != 0;
    }
  }

  void load(const sock_filter& step) {
    if (BPF_MODE(step.code) == BPF_MEM && step.k < BPF_MEMWORDS) accumulator_ = memory_[step.k];
    if (BPF_MODE(step.code) == BPF_IMM) accumulator_ = step.k;
    if (BPF_MODE(step.code) != BPF_ABS || step.k > sizeof(data_) - sizeof(accumulator_)) return;
    std::memcpy(&accumulator_, reinterpret_cast<const char*>(&data_) + step.k,
                sizeof(accumulator_));
  }

  const seccomp_data& data_;
  std::uint32_t accumulator_ = 0;
  std::uint32_t memory_[BPF_MEMWORDS] = {};
};

Result<int> load(const FilterProgram& program, unsigned flags) {
  const sock_fprog filter{static_cast<unsigned short>(program.size()),
                          const_cast<sock_filter*>(program.data())};
  const long result = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
  if (result < 0) return fail_errno(Errc::not_permitted, "cannot load the system call filter");
  return static_cast<int>(result);
}

}  // namespace

Result<FilterProgram> export_filter(void* context, std::initializer_list<const char*> absent) {
  const Fd file(::memfd_create("filter", MFD_CLOEXEC));
  if (!file) return fail_errno(Errc::unavailable, "memfd_create");
  if (const int result = ::seccomp_export_bpf(context, file.get()); result != 0) {
    return Failure(errno_error(Errc::bug, "seccomp_export_bpf", -result));
  }
  if (::lseek(file.get(), 0, SEEK_SET) != 0) return fail_errno(Errc::bug, "lseek");
  const auto bytes = read_fd(file.get(), "filter", largest_export);
  if (!bytes) return Failure(bytes.error());
  FilterProgram program = prologue(absent);
  const std::size_t head = program.size();
  program.resize(head + bytes->size() / sizeof(sock_filter));
  bytes->copy(reinterpret_cast<char*>(program.data() + head), bytes->size());
  if (program.size() <= BPF_MAXINSNS) return program;
  return fail(Errc::bad_config,
              fmt::format("the system call filter has {} instructions, and the kernel takes {}",
                          program.size(), BPF_MAXINSNS),
              "give it fewer names and conditions");
}

Result<void> load_filter(const FilterProgram& program) {
  return load(program, 0).map([](int) {});
}

Result<Fd> load_filter_with_listener(const FilterProgram& program) {
  // Without the second flag (Linux 5.19) any signal makes a call that waits begin anew.
  constexpr unsigned listener = SECCOMP_FILTER_FLAG_NEW_LISTENER;
  auto loaded = load(program, listener | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
  if (!loaded) loaded = load(program, listener);
  return loaded.map([](int fd) { return Fd(fd); });
}

std::uint32_t run_filter(const FilterProgram& program, int number,
                         std::initializer_list<std::uint64_t> arguments) {
  seccomp_data data{};
  data.nr = number;
  data.arch = native_architecture();
  std::copy_n(arguments.begin(), std::min(arguments.size(), std::size(data.args)), data.args);
  return Machine(data).run(program);
}

}  // namespace sluice::launcher
