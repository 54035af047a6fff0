#include "allowlists/tools/diff_addresses.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "allowlists/address_guard.h"

namespace sluice::allowlists {
namespace {

struct Interval {
  IpAddress first;
  IpAddress last;
};

IpAddress with_bytes(const IpAddress& like, const IpAddress::Bytes& bytes) {
  if (!like.is_v4()) return IpAddress::v6(bytes);
  return IpAddress::v4(std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
                       std::uint32_t{bytes[2]} << 8 | bytes[3]);
}

std::size_t width(const IpAddress& address) { return address.is_v4() ? 4 : 16; }

// The next address; nothing behind the last.
std::optional<IpAddress> next(const IpAddress& address) {
  IpAddress::Bytes bytes = address.bytes();
  for (std::size_t i = width(address); i-- > 0;) {
    if (++bytes[i] != 0) return with_bytes(address, bytes);
  }
  return {};
}

// `address` is not the first.
IpAddress previous(const IpAddress& address) {
  IpAddress::Bytes bytes = address.bytes();
  for (std::size_t i = width(address); i-- > 0;) {
    if (bytes[i]-- != 0) break;
  }
  return with_bytes(address, bytes);
}

IpAddress last_of(const Cidr& range) {
  IpAddress::Bytes bytes = range.network.bytes();
  for (std::size_t i = 0; i < width(range.network); ++i) {
    const std::size_t fixed = std::clamp<std::size_t>(range.length, 8 * i, 8 * i + 8) - 8 * i;
    bytes[i] = static_cast<std::uint8_t>(bytes[i] | (0xffU >> fixed));
  }
  return with_bytes(range.network, bytes);
}

// "10.0.0.0/8" where one range says it, else "10.0.0.1-10.0.0.9".
std::string text_of(const Interval& interval) {
  if (interval.first == interval.last)
    return Cidr::around(interval.first, static_cast<std::uint8_t>(8 * width(interval.first)))
        .to_string();
  for (std::size_t length = 8 * width(interval.first); length-- > 0;) {
    const Cidr range = Cidr::around(interval.first, static_cast<std::uint8_t>(length));
    if (range.network != interval.first) break;
    if (last_of(range) == interval.last) return range.to_string();
  }
  return fmt::format("{}-{}", interval.first.to_string(), interval.last.to_string());
}

Cidr range_v6(const char* text) { return Cidr::parse(text).value_or(Cidr{}); }

// Where the IPv4 address stands in the IPv6 addresses of a range.
struct Embedding {
  Cidr range;
  std::size_t at = 0;
};

const std::vector<Embedding>& embeddings() {
  static const std::vector<Embedding> all = {{range_v6("::/96"), 12},
                                             {range_v6("::ffff:0:0/96"), 12},
                                             {range_v6("::ffff:0:0:0/96"), 12},
                                             {range_v6("64:ff9b::/96"), 12},
                                             {range_v6("2002::/16"), 2}};
  return all;
}

// Their addresses embed IPv4 addresses at several places, or inverted.
const std::vector<Cidr>& scattered() {
  static const std::vector<Cidr> all = {range_v6("2001::/32"), range_v6("64:ff9b:1::/48")};
  return all;
}

bool lies_in(const IpAddress& address, const std::vector<Cidr>& ranges) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [&](const Cidr& range) { return range.contains(address); });
}

// Whether both are told in one line: for what is refused, the reasons may differ.
bool is_one(const Difference& literal, const Difference& resolved) {
  if (literal.change != resolved.change) return false;
  const bool opens = literal.before.verdict == Verdict::deny;
  const bool closes = literal.after.verdict == Verdict::deny;
  return (opens || literal.before == resolved.before) &&
         (closes || literal.after == resolved.after);
}

class AddressDiff {
 public:
  explicit AddressDiff(const DiffSides& sides) : sides_(sides) {
    for (const auto& list :
         {sides.before.never, sides.after.never, sides.before.own, sides.after.own}) {
      for (const Rule& rule : list) add(rule);
    }
    for (const Cidr& range : classified_ranges()) add_boundaries(range);
    starts_.insert({IpAddress::v4(0), IpAddress::v6({})});
    add_embeddings();
    for (const Cidr& range : scattered()) add_boundaries(range);
  }

  bool tell(std::vector<DiffStatement>& statements) {
    const std::size_t before = statements.size();
    std::vector<DiffStatement> ranges;
    tell_ranges(ranges);
    if (plain_) {
      for (DiffStatement& told : compare_at(*plain_, DiffKind::any_other_address)) {
        told.subject = "any other public address";
        statements.push_back(std::move(told));
      }
    }
    std::move(ranges.begin(), ranges.end(), std::back_inserter(statements));
    return !ranges_v6_.empty() && statements.size() > before;
  }

 private:
  enum class Family : std::uint8_t { v4, v6 };
  struct Told {
    Interval interval;
    DiffStatement statement;
  };

  void tell_ranges(std::vector<DiffStatement>& statements) {
    for (const Family family : {Family::v4, Family::v6}) {
      std::vector<IpAddress> starts;
      for (const IpAddress& start : starts_) {
        if (start.is_v4() == (family == Family::v4)) starts.push_back(start);
      }
      for (std::size_t i = 0; i < starts.size(); ++i) {
        const IpAddress last =
            i + 1 < starts.size() ? previous(starts[i + 1]) : last_of(Cidr::around(starts[i], 0));
        const Interval interval{starts[i], last};
        if (is_plain(interval)) {
          plain_ = plain_.value_or(representative(interval));
        } else {
          tell_interval(interval);
        }
      }
      close(std::exchange(open_, {}));
      std::stable_sort(done_.begin(), done_.end(), [](const Told& a, const Told& b) {
        return a.interval.first < b.interval.first;
      });
      for (Told& told : std::exchange(done_, {})) statements.push_back(std::move(told.statement));
    }
  }

  // Of the open internet, without a rule of its own: all such addresses get the same answers.
  bool is_plain(const Interval& interval) const {
    const auto embeds = [&](const Embedding& embedding) {
      return embedding.range.contains(interval.first);
    };
    return own_class(interval.first) == AddressClass::open && !is_ruled(interval.first) &&
           !lies_in(interval.first, scattered()) &&
           std::none_of(embeddings().begin(), embeddings().end(), embeds);
  }

  void add(const Rule& rule) {
    if (rule.scope == Scope::any && rule.effect == Effect::deny) {
      any_ports_.insert(any_ports_.end(), rule.ports.begin(), rule.ports.end());
    }
    if (rule.scope != Scope::cidr) return;
    auto& ports = ports_[key(rule.range)];
    const auto listed = listed_ports_of(rule);
    ports.insert(ports.end(), listed.begin(), listed.end());
    lengths_.insert(rule.range.length);
    add_boundaries(rule.range);
    if (!rule.range.network.is_v4()) ranges_v6_.push_back(rule.range);
  }

  static std::tuple<IpAddress, std::uint8_t> key(const Cidr& range) {
    return {range.network, range.length};
  }

  void add_boundaries(const Cidr& range) {
    starts_.insert(range.network);
    if (const auto behind = next(last_of(range))) starts_.insert(*behind);
  }

  // The boundaries of IPv4, once more inside each range that embeds it. Without an IPv6 rule its
  // addresses are private and refused by both sides.
  void add_embeddings() {
    std::vector<IpAddress> starts_v4;
    for (const IpAddress& start : starts_) {
      if (start.is_v4()) starts_v4.push_back(start);
    }
    for (const Embedding& embedding : embeddings()) {
      add_boundaries(embedding.range);
      const bool ruled = std::any_of(ranges_v6_.begin(), ranges_v6_.end(), [&](const Cidr& range) {
        return range.overlaps(embedding.range);
      });
      if (!ruled) continue;
      for (const IpAddress& start : starts_v4) {
        IpAddress::Bytes bytes = embedding.range.network.bytes();
        std::copy_n(start.bytes().begin(), 4,
                    bytes.begin() + static_cast<std::ptrdiff_t>(embedding.at));
        starts_.insert(IpAddress::v6(bytes));
      }
    }
    // :: and ::1 embed nothing.
    add_boundaries(range_v6("::/128"));
    add_boundaries(range_v6("::1/128"));
  }

  // An address that stands for the interval. Where an interval is no range of embedded addresses,
  // those that embed one by chance (ISATAP, in any /64) do not stand for it.
  IpAddress representative(const Interval& interval) const {
    if (interval.first.is_v4() || interval.first == interval.last) return interval.first;
    if (lies_in(interval.first, scattered())) return embedding_public(interval);
    std::size_t expected = 0;
    for (const Embedding& embedding : embeddings()) {
      if (embedding.range.contains(interval.first)) expected = 1;
    }
    IpAddress::Bytes inside = interval.first.bytes();
    std::fill(inside.begin() + 8, inside.end(), std::uint8_t{0xff});
    for (const IpAddress& address : {interval.first, interval.last, IpAddress::v6(inside)}) {
      const bool is_inside = interval.first <= address && address <= interval.last;
      if (is_inside && embedded_ipv4(address).count == expected) return address;
    }
    return interval.first;
  }

  // One whose embedded addresses no rule names, if there is room: whatever they gain by a rule is
  // told of the IPv4 addresses themselves.
  IpAddress embedding_public(const Interval& interval) const {
    constexpr std::array<std::uint8_t, 8> candidates = {8, 9, 20, 45, 80, 93, 120, 150};
    for (const std::uint8_t byte : candidates) {
      const auto inside = IpAddress::v4(0x01010101U * byte);
      if (own_class(inside) != AddressClass::open || is_ruled(inside)) continue;
      IpAddress::Bytes bytes = interval.first.bytes();
      const bool teredo = bytes[1] == 1;
      std::fill(bytes.begin() + (teredo ? 4 : 6), bytes.end(), byte);
      // RFC 4380 4: the client's address is inverted.
      if (teredo) std::fill(bytes.begin() + 12, bytes.end(), static_cast<std::uint8_t>(~byte));
      const auto address = IpAddress::v6(bytes);
      if (interval.first <= address && address <= interval.last) return address;
    }
    return interval.first;
  }

  bool is_ruled(const IpAddress& address) const {
    return std::any_of(lengths_.begin(), lengths_.end(), [&](std::uint8_t length) {
      return length <= 8 * width(address) && ports_.contains(key(Cidr::around(address, length)));
    });
  }

  std::vector<std::uint16_t> ports_at(const IpAddress& address) const {
    std::vector<std::uint16_t> ports = any_ports_;
    const Embedded inside = embedded_ipv4(address);
    std::vector<IpAddress> parts = {address};
    parts.insert(parts.end(), inside.address.begin(), inside.address.begin() + inside.count);
    for (const IpAddress& part : parts) {
      for (const std::uint8_t length : lengths_) {
        if (length > 8 * width(part)) break;
        const auto at = ports_.find(key(Cidr::around(part, length)));
        if (at != ports_.end()) ports.insert(ports.end(), at->second.begin(), at->second.end());
      }
    }
    ports.push_back(443);  // what report mode asks of the bytes depends on the port
    return ports;
  }

  std::optional<Difference> literal(const IpAddress& address, std::uint16_t port) const {
    const Target target{Host::of(address), port};
    return compare(answer_of(sides_.before.rules->decide(target)),
                   answer_of(sides_.after.rules->decide(target)));
  }

  // What the bytes must be is a matter of the name.
  std::optional<Difference> resolved(const IpAddress& address, std::uint16_t port) const {
    const Target name{*Host::parse("name.test"), port};  // which name does not count
    DiffAnswer old =
        answer_of(sides_.before.guard->judge_address(name, address, OnThisMachine::no));
    DiffAnswer now = answer_of(sides_.after.guard->judge_address(name, address, OnThisMachine::no));
    for (DiffAnswer* answer : {&old, &now}) {
      answer->tls = TlsMode::require;
      answer->refuse_ech = false;
    }
    return compare(std::move(old), std::move(now));
  }

  void tell_interval(const Interval& interval) {
    extend(interval, compare_at(representative(interval), DiffKind::range));
  }

  std::vector<DiffStatement> compare_at(const IpAddress& address, DiffKind kind) const {
    DiffByPort either;
    DiffByPort by_literal;
    DiffByPort by_name;
    PortCells(ports_at(address)).each([&](const PortCells::Cell& cell) {
      const auto as_literal = literal(address, cell.asked);
      const auto as_name = resolved(address, cell.asked);
      if (as_literal && as_name && is_one(*as_literal, *as_name)) {
        either.add(*as_literal, cell.range);
        return;
      }
      if (as_literal) by_literal.add(*as_literal, cell.range);
      if (as_name) by_name.add(*as_name, cell.range);
    });
    std::vector<DiffStatement> found;
    either.finish({.kind = kind, .via = DiffVia::either}, found);
    by_literal.finish({.kind = kind, .via = DiffVia::literal}, found);
    by_name.finish({.kind = kind, .via = DiffVia::resolved}, found);
    return found;
  }

  // What holds for the interval before as well becomes one statement.
  void extend(const Interval& interval, std::vector<DiffStatement> found) {
    std::vector<Told> still_open;
    for (DiffStatement& statement : found) {
      const auto same = std::find_if(open_.begin(), open_.end(), [&](const Told& open) {
        return open.statement == statement && next(open.interval.last) == interval.first;
      });
      if (same == open_.end()) {
        still_open.push_back({interval, std::move(statement)});
      } else {
        still_open.push_back({{same->interval.first, interval.last}, std::move(same->statement)});
        open_.erase(same);
      }
    }
    std::swap(open_, still_open);
    close(std::move(still_open));
  }

  void close(std::vector<Told> ended) {
    for (Told& told : ended) {
      told.statement.subject = text_of(told.interval);
      done_.push_back(std::move(told));
    }
  }

  const DiffSides& sides_;
  std::map<std::tuple<IpAddress, std::uint8_t>, std::vector<std::uint16_t>> ports_;
  std::set<std::uint8_t> lengths_;
  std::vector<std::uint16_t> any_ports_;
  std::vector<Cidr> ranges_v6_;
  std::set<IpAddress> starts_;
  std::optional<IpAddress> plain_;  // one that stands for all of is_plain()
  std::vector<Told> open_;
  std::vector<Told> done_;
};

}  // namespace

bool diff_addresses(const DiffSides& sides, std::vector<DiffStatement>& statements) {
  return AddressDiff(sides).tell(statements);
}

}  // namespace sluice::allowlists
