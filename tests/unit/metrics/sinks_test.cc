// Where audit lines go: files that are renamed, sockets that come and go, the journal.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>
#include <vector>

#include "metrics/audit.h"
#include "metrics/file_sink.h"
#include "metrics/journal_entry.h"
#include "metrics/socket_sink.h"

namespace sluice::metrics {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class Folder {
 public:
  Folder() {
    if (::mkdtemp(path_.data()) == nullptr) throw std::runtime_error("mkdtemp");
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_ = (std::filesystem::temp_directory_path() / "sluice-XXXXXX").native();
};

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  return address;
}

// Whoever reads the lines.
class Shipper {
 public:
  Shipper(const std::string& path, int type) : type_(type), socket_(::socket(AF_UNIX, type, 0)) {
    const sockaddr_un address = address_of(path);
    ::unlink(path.c_str());
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address),
              0);
    if (type == SOCK_STREAM) {
      EXPECT_EQ(::listen(socket_.get(), 1), 0);
    }
  }
  void accept() { connection_.reset(::accept(socket_.get(), nullptr, nullptr)); }
  // What has come, at least a byte of it.
  std::string read() {
    std::string bytes(65536, '\0');
    const int from = type_ == SOCK_STREAM ? connection_.get() : socket_.get();
    const ssize_t size = ::recv(from, bytes.data(), bytes.size(), 0);
    bytes.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
    return bytes;
  }
  std::string read_until(std::string_view end) {
    std::string all;
    while (!all.ends_with(end)) {
      const std::string more = read();
      if (more.empty()) break;
      all += more;
    }
    return all;
  }

 private:
  const int type_;
  Fd socket_;
  Fd connection_;
};

TEST(FileSink, GoesOnInANewFileWhenTheOldOneWasRenamedAndLosesNothing) {
  const Folder folder;
  auto sink = FileSink::open(folder / "audit.jsonl");
  ASSERT_TRUE(sink);
  EXPECT_EQ((*sink)->write("one\n"), 1U);
  std::filesystem::rename(folder / "audit.jsonl", folder / "audit.jsonl.1");
  EXPECT_EQ((*sink)->write("two\nthree\n"), 2U);
  std::filesystem::remove(folder / "audit.jsonl");
  EXPECT_EQ((*sink)->write("four\n"), 1U);
  EXPECT_EQ(text_of(folder / "audit.jsonl.1"), "one\n");
  EXPECT_EQ(text_of(folder / "audit.jsonl"), "four\n");
  struct stat status {};
  ASSERT_EQ(::stat((folder / "audit.jsonl").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07077U, 0040U) << "no one else may read it";
}

TEST(FileSink, AppendsToTheFileThatLogrotateMade) {
  const Folder folder;
  auto sink = FileSink::open(folder / "audit.jsonl");
  ASSERT_TRUE(sink);
  std::filesystem::rename(folder / "audit.jsonl", folder / "audit.jsonl.1");
  std::ofstream(folder / "audit.jsonl") << "made\n";
  EXPECT_EQ((*sink)->write("one\n"), 1U);
  EXPECT_EQ(text_of(folder / "audit.jsonl"), "made\none\n");
}

TEST(FileSink, KeepsTheOldFileWhileThereCanBeNoNewOne) {
  const Folder folder;
  std::filesystem::create_directory(folder / "logs");
  auto sink = FileSink::open(folder / "logs/audit.jsonl");
  ASSERT_TRUE(sink);
  std::filesystem::rename(folder / "logs", folder / "moved");
  EXPECT_EQ((*sink)->write("one\n"), 1U);
  EXPECT_EQ(text_of(folder / "moved/audit.jsonl"), "one\n");
  std::filesystem::create_directory(folder / "logs");
  EXPECT_EQ((*sink)->write("two\n"), 1U);
  EXPECT_EQ(text_of(folder / "logs/audit.jsonl"), "two\n");
}

TEST(FileSink, SaysWhichFileCannotBeOpened) {
  const auto sink = FileSink::open("/nowhere/audit.jsonl");
  ASSERT_FALSE(sink);
  EXPECT_THAT(sink.error().what, HasSubstr("'/nowhere/audit.jsonl'"));
}

TEST(SocketSink, WritesLinesToAStreamAndOneADatagram) {
  const Folder folder;
  Shipper stream(folder / "stream", SOCK_STREAM);
  SocketSink to_stream(folder / "stream", SocketSink::Form::lines);
  EXPECT_EQ(to_stream.write("one\ntwo\n"), 2U);
  stream.accept();
  EXPECT_EQ(stream.read(), "one\ntwo\n");
  Shipper datagrams(folder / "datagrams", SOCK_DGRAM);
  SocketSink to_datagrams(folder / "datagrams", SocketSink::Form::lines);
  EXPECT_EQ(to_datagrams.write("one\ntwo\n"), 2U);
  EXPECT_EQ(datagrams.read(), "one");
  EXPECT_EQ(datagrams.read(), "two");
}

TEST(SocketSink, WaitsForAShipperThatIsAwayAndConnectsAgain) {
  const Folder folder;
  SocketSink sink(folder / "audit", SocketSink::Form::lines);
  std::size_t whole = 0;
  std::thread writer([&] { whole = sink.write("one\n"); });
  auto shipper = std::make_unique<Shipper>(folder / "audit", SOCK_STREAM);
  shipper->accept();
  EXPECT_EQ(shipper->read(), "one\n");
  writer.join();
  EXPECT_EQ(whole, 1U);
  shipper = std::make_unique<Shipper>(folder / "audit", SOCK_STREAM);
  EXPECT_EQ(sink.write("two\nthree\n"), 2U);
  shipper->accept();
  EXPECT_EQ(shipper->read(), "two\nthree\n");
}

TEST(SocketSink, SendsALineThatABrokenConnectionCutOnceMoreAsAWhole) {
  const Folder folder;
  SocketSink sink(folder / "audit", SocketSink::Form::lines);
  auto shipper = std::make_unique<Shipper>(folder / "audit", SOCK_STREAM);
  EXPECT_EQ(sink.write("first\n"), 1U);
  shipper->accept();
  const std::string line = std::string(4'000'000, 'x') + "\n";  // more than any buffer takes
  std::size_t whole = 0;
  std::thread writer([&] { whole = sink.write(line + "last\n"); });
  EXPECT_EQ(shipper->read().substr(0, 6), "first\n");
  (void)shipper->read();
  shipper = std::make_unique<Shipper>(folder / "audit", SOCK_STREAM);
  shipper->accept();
  EXPECT_TRUE(shipper->read_until("last\n") == line + "last\n");
  writer.join();
  EXPECT_EQ(whole, 2U);
}

TEST(SocketSink, NobodyIsWaitedForAfterItsTime) {
  const Folder folder;
  SocketSink sink(folder / "nobody", SocketSink::Form::lines);
  sink.stop_waiting_at(std::chrono::steady_clock::now());
  EXPECT_EQ(sink.write("one\n"), 0U);
}

TEST(SocketSink, ALineThatIsTooLongForADatagramIsLostAloneAndNotCounted) {
  const Folder folder;
  Shipper datagrams(folder / "datagrams", SOCK_DGRAM);
  SocketSink sink(folder / "datagrams", SocketSink::Form::lines);
  EXPECT_EQ(sink.write(std::string(4'000'000, 'x') + "\nshort\n"), 1U);
  EXPECT_EQ(datagrams.read(), "short");
}

// The queue holds what fits, the rest is counted, and a line of its own says how much.
TEST(AuditLog, CountsAndTellsWhatASocketThatNobodyReadsHasLost) {
  const Folder folder;
  constexpr std::uint64_t written = 1000;
  auto counters = std::make_shared<AuditCounters>();
  AuditLog log(std::make_unique<SocketSink>(folder / "audit", SocketSink::Form::lines), counters,
               {.queue_lines = 10});
  AuditLine line;
  line.verdict = Verdict::allow;
  for (std::uint64_t i = 0; i < written; ++i) {
    line.agent = i % 2 == 0 ? "a" : "b";
    log.write(line);
  }
  EXPECT_GE(counters->dropped, written / 2);
  Shipper shipper(folder / "audit", SOCK_STREAM);
  shipper.accept();
  std::uint64_t lines = 0;
  std::uint64_t told = 0;
  while (lines + told < written) {
    const std::string more = shipper.read_until("\n");
    ASSERT_FALSE(more.empty());
    std::istringstream in(more);
    for (std::string one; std::getline(in, one);) {
      const auto json = nlohmann::json::parse(one);
      const bool is_gap = json.value("event", "") == "lines_dropped";
      (is_gap ? told : lines) += is_gap ? json["count"].get<std::uint64_t>() : 1;
    }
  }
  EXPECT_EQ(lines + told, written);
  EXPECT_EQ(told, counters->dropped);
}

TEST(JournalEntry, HasTheLineAndItsFields) {
  AuditLine line;
  line.agent = "coder-7";
  line.host = R"(x","verdict":"allow","reason":"listed)";
  line.path = "/\nPRIORITY=0\n";
  line.verdict = Verdict::deny;
  line.reason = Reason::never;
  std::string json = to_json(line);
  json.pop_back();
  const std::string entry = journal_entry(json);
  EXPECT_EQ(entry, "SYSLOG_IDENTIFIER=sluiced\nPRIORITY=4\nMESSAGE=" + json +
                       "\nSLUICE_AGENT=coder-7\nSLUICE_VERDICT=deny\nSLUICE_REASON=never\n");
  EXPECT_EQ(std::count(entry.begin(), entry.end(), '\n'), 6);
}

TEST(JournalEntry, LeavesOutWhatALineDoesNotHave) {
  const std::string entry =
      journal_entry(R"({"ts":"x","agent":"","via":"event","event":"lines_dropped","count":3})");
  EXPECT_THAT(entry, HasSubstr("PRIORITY=4\n"));
  EXPECT_THAT(entry, Not(HasSubstr("SLUICE_")));
  EXPECT_THAT(journal_entry(R"({"ts":"x","agent":"a","via":"exec","program":"/bin/true"})"),
              HasSubstr("PRIORITY=6\n"));
}

TEST(SocketSink, SpeaksTheJournalsProtocol) {
  const Folder folder;
  Shipper journal(folder / "journal", SOCK_DGRAM);
  SocketSink sink(folder / "journal", SocketSink::Form::journal_entries);
  EXPECT_EQ(sink.write("{\"agent\":\"a\"}\n{\"agent\":\"b\"}\n"), 2U);
  EXPECT_EQ(journal.read(), journal_entry("{\"agent\":\"a\"}"));
  EXPECT_EQ(journal.read(), journal_entry("{\"agent\":\"b\"}"));
}

}  // namespace
}  // namespace sluice::metrics
