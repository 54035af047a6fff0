#include "proxy/daemon/scribe.h"

#include <boost/asio/post.hpp>
#include <utility>

#include "base/log.h"
#include "base/signals.h"

namespace sluice::proxy {

Scribe::Scribe(std::function<std::string()> write) : write_(std::move(write)) {
  thread_ = start_without_signals<std::thread>([this] { run(); });
}

Scribe::~Scribe() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  asked_.notify_one();
  thread_.join();
}

Task<Scribe::Page> Scribe::page(asio::io_context& io) {
  const auto wait = std::make_shared<Wait>(io);
  {
    const std::lock_guard lock(mutex_);
    readers_.push_back({io, wait});
  }
  asked_.notify_one();
  co_await wait->timer.async_wait();
  co_return std::move(wait->page);
}

Scribe::Page Scribe::write_page() const try {
  return std::make_shared<const std::string>(write_());
} catch (const std::exception& error) {
  log::error("the page of metrics cannot be written: {}", error.what());
  return nullptr;
}

void Scribe::run() {
  for (;;) {
    std::vector<Reader> readers;
    {
      std::unique_lock lock(mutex_);
      asked_.wait(lock, [this] { return stopping_ || !readers_.empty(); });
      if (stopping_) return;
      readers.swap(readers_);
    }
    const Page page = write_page();
    for (const Reader& reader : readers) {
      asio::post(reader.io, [weak = reader.wait, page] {
        const auto wait = weak.lock();
        if (!wait) return;
        wait->page = page;
        wait->timer.cancel();
      });
    }
  }
}

}  // namespace sluice::proxy
