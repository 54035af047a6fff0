// Writes the page of metrics on a thread of its own: a thousand agents are milliseconds of work,
// which no connection shall wait for.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "proxy/net.h"

namespace sluice::proxy {

// Must be destroyed before the io_contexts of those who ask. Construct after enclose() and fork().
class Scribe {
 public:
  using Page = std::shared_ptr<const std::string>;

  // `write` is called on the thread, and outlives it.
  explicit Scribe(std::function<std::string()> write);
  ~Scribe();
  Scribe(const Scribe&) = delete;
  Scribe& operator=(const Scribe&) = delete;

  // The page as it is now, null when it cannot be written. Resumes on `io`, which must be the one
  // that the caller runs on; a caller may be cancelled or destroyed while it waits. All who wait
  // for the thread get the same page.
  Task<Page> page(asio::io_context& io);

 private:
  // Touched on its own io_context only; the thread posts there.
  struct Wait {
    explicit Wait(asio::io_context& io) : timer(io, Clock::time_point::max()) {}
    Timer timer;
    Page page;
  };
  struct Reader {
    asio::io_context& io;
    std::weak_ptr<Wait> wait;
  };

  void run();
  Page write_page() const;

  const std::function<std::string()> write_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable asked_;
  bool stopping_ = false;
  std::vector<Reader> readers_;
  std::thread thread_;
};

}  // namespace sluice::proxy
