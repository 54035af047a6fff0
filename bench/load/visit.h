// One connection of the load's that carries out scripts: says its part, and checks every byte of
// what comes back.
#pragma once

#include <netinet/in.h>

#include <string>

#include "bench/load/loop.h"
#include "bench/load/wire.h"

namespace sluice::bench {

class Visit;

// Who hears how a script went.
class Visitor {
 public:
  virtual ~Visitor() = default;
  // `wrong` is empty when all was as expected. The visit's connection is as the last answer left
  // it; the visitor may close it, and may begin the next script at once.
  virtual void ended(Visit& visit, const std::string& wrong) = 0;
};

class Visit : public Watcher {
 public:
  // `place` is the visitor's, to know it by.
  Visit(const Loop& loop, Visitor& visitor, unsigned its_place)
      : place(its_place), loop_(loop), visitor_(visitor) {}

  const unsigned place;

  // Over the kept connection if there is one, else over a new one to `to`. The script must live
  // until ended(). `due`: from when its latency counts.
  void begin(const Script& script, const sockaddr_in& to, Clock::time_point due);
  void close() noexcept { fd_.reset(); }

  bool is_open() const noexcept { return static_cast<bool>(fd_); }
  // A script is under way.
  bool is_busy() const noexcept { return script_ != nullptr; }
  int fd() const noexcept { return fd_.get(); }
  Clock::time_point due() const noexcept { return due_; }
  // Status of the last HTTP answer, 0 when there was none.
  unsigned status() const noexcept { return status_; }
  // Kept connections that the other side had closed when they were to be used again.
  std::uint64_t reconnects() const noexcept { return reconnects_; }

  void ready(std::uint32_t events) override;

 private:
  void connect();
  void say();
  void hear(std::uint32_t events);
  void consider(Ended ended);
  void broken(const std::string& why);
  void end(const std::string& wrong);

  const Loop& loop_;
  Visitor& visitor_;
  Fd fd_;
  sockaddr_in to_{};
  const Script* script_ = nullptr;  // null: nothing is expected
  std::size_t at_ = 0;              // the exchange that is under way
  bool connected_ = false;
  bool kept_ = false;  // an earlier script has used this connection
  std::string in_;
  Clock::time_point due_;
  unsigned status_ = 0;
  std::uint64_t reconnects_ = 0;
};

}  // namespace sluice::bench
