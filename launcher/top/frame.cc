#include "launcher/top/frame.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "base/text.h"

namespace sluice::launcher {
namespace {

using Style = FrameLine::Style;
using Lines = std::vector<FrameLine>;

constexpr std::size_t clock_begin = 11;  // of "2026-01-02T03:04:05Z"
constexpr std::size_t clock_size = 8;

std::string cut(std::string text, std::size_t width) {
  if (text.size() <= width) return text;
  text.resize(width);
  if (width > 1) text.back() = '~';  // there is more
  return text;
}

std::string clock_of(const std::string& time) {
  return time.size() >= clock_begin + clock_size ? time.substr(clock_begin, clock_size) : "?";
}

std::string column(std::string_view untrusted, std::size_t width) {
  return fmt::format("{:<{}}", cut(ascii(untrusted), width), width);
}

// A column of the list of agents. Where a screen is too narrow, the higher ranks go first.
struct Column {
  const char* heading;
  std::size_t width;
  int rank;
  std::string (*text)(const TopAgent&, const Rates&);
};

std::string count_text(std::uint64_t count) { return short_count(static_cast<double>(count)); }
std::string bytes_text(double bytes) { return short_count(bytes, 1024); }

// Of the budget that ends first, in whole percent: 100% is one that is used up, and no other.
std::string budget_text(const TopAgent& agent, const Rates&) {
  if (agent.budgets.empty()) return "-";
  double fullest = 0;
  for (const TopBudget& budget : agent.budgets) {
    if (budget.spent >= budget.limit) return "100%";
    fullest =
        std::max(fullest, static_cast<double>(budget.spent) / static_cast<double>(budget.limit));
  }
  return fmt::format("{}%", std::min(static_cast<int>(fullest * 100), 99));
}

constexpr std::array<Column, 9> columns{{
    {"SINCE", 8, 8,
     [](const TopAgent& agent, const Rates&) { return clock_of(ascii(agent.since)); }},
    {"CONN", 5, 2,
     [](const TopAgent& agent, const Rates&) { return count_text(agent.connections); }},
    {"TUN", 5, 6, [](const TopAgent& agent, const Rates&) { return count_text(agent.tunnels); }},
    {"REQ/S", 6, 1,
     [](const TopAgent&, const Rates& rates) { return short_count(rates.requests); }},
    {"UP/S", 6, 5, [](const TopAgent&, const Rates& rates) { return bytes_text(rates.bytes_up); }},
    {"DOWN/S", 6, 4,
     [](const TopAgent&, const Rates& rates) { return bytes_text(rates.bytes_down); }},
    {"ALLOWED", 7, 7,
     [](const TopAgent& agent, const Rates&) {
       return count_text(agent.allowed + agent.reported);
     }},
    {"DENIED", 6, 0,
     [](const TopAgent& agent, const Rates&) {
       return count_text(agent.denied + agent.dns_refused);
     }},
    {"BUDGET", 6, 3, budget_text},
}};

constexpr std::size_t shortest_name = 12;
constexpr std::size_t longest_name = 24;

// A column that would be empty leaves its place to the names.
bool has_something(const Column& column, const std::vector<TopAgent>& agents) {
  return column.text != budget_text ||
         std::ranges::any_of(agents, [](const TopAgent& one) { return !one.budgets.empty(); });
}

std::vector<const Column*> columns_for(const std::vector<TopAgent>& agents, std::size_t width) {
  std::vector<const Column*> chosen;
  std::size_t used = shortest_name;
  for (int rank = 0; rank <= 8; ++rank) {
    for (const Column& one : columns) {
      if (one.rank != rank || used + one.width + 1 > width) continue;
      if (!has_something(one, agents)) continue;
      used += one.width + 1;
      chosen.push_back(&one);
    }
  }
  std::ranges::sort(chosen);
  return chosen;
}

struct Section {
  std::string heading;
  Lines lines;
  std::size_t all = 0;  // lines, kept or not
};

Section agents_of(const View& view, std::size_t width) {
  const auto chosen = columns_for(view.now.agents, width);
  std::size_t used = 0;
  for (const Column* one : chosen) used += one->width + 1;
  const std::size_t name = std::clamp(width - std::min(width, used), shortest_name, longest_name);
  Section section;
  section.heading = column("AGENT", name);
  for (const Column* one : chosen)
    section.heading += fmt::format(" {:>{}}", one->heading, one->width);
  for (std::size_t i = 0; i < view.now.agents.size(); ++i) {
    std::string line = column(view.now.agents[i].name, name);
    for (const Column* one : chosen) {
      line += fmt::format(" {:>{}}", one->text(view.now.agents[i], view.rates[i]), one->width);
    }
    section.lines.push_back({std::move(line), Style::plain});
  }
  return section;
}

Style style_of(const std::string& verdict) {
  if (verdict == "deny") return Style::denied;
  return verdict == "report" ? Style::reported : Style::plain;
}

// The rule names the host; where none helps, the host stands alone.
Section blocked_of(const View& view, std::size_t width) {
  const std::size_t name = width >= 60 ? 16 : 8;
  Section section;
  section.heading = fmt::format("{:>5} {} {} {}", "TIMES", column("BLOCKED", name),
                                column("BECAUSE", name), "TO ALLOW IT, IN THE AGENT'S allow:");
  for (const TopHost& host : view.now.blocked) {
    const std::string target = host.to_allow.empty()
                                   ? "(" + ascii(target_of(host.host, host.port)) + ")"
                                   : ascii(host.to_allow);
    section.lines.push_back(
        {fmt::format("{:>5} {} {} {}", count_text(host.count), column(host.agent, name),
                     column(host.reason, name), target),
         style_of(host.verdict)});
  }
  return section;
}

Section decisions_of(const View& view, std::size_t width) {
  const std::size_t name = width >= 60 ? 16 : 8;
  Section section;
  section.heading = fmt::format("{:<8} {} {:<6} {} {}", "DECIDED", column("AGENT", name), "",
                                column("BECAUSE", name), "TARGET");
  // The newest first: what does not fit is old.
  for (auto one = view.now.decisions.rbegin(); one != view.now.decisions.rend(); ++one) {
    section.lines.push_back(
        {fmt::format("{} {} {:<6} {} {}", clock_of(ascii(one->time)), column(one->agent, name),
                     ascii(one->verdict), column(one->reason, name),
                     ascii(target_of(one->host, one->port))),
         style_of(one->verdict)});
  }
  return section;
}

// Cuts sections to `rows` lines together: each has its third, and what the others leave.
void share(std::size_t rows, std::array<Section, 3>& sections) {
  std::size_t left = rows;
  std::array<std::size_t, 3> given{};
  for (bool more = true; more && left > 0;) {
    more = false;
    for (std::size_t i = 0; i < sections.size() && left > 0; ++i) {
      if (given[i] == sections[i].lines.size()) continue;
      ++given[i];
      --left;
      more = true;
    }
  }
  for (std::size_t i = 0; i < sections.size(); ++i) {
    sections[i].all = sections[i].lines.size();
    sections[i].lines.resize(given[i]);
  }
}

void append(Lines& out, Section section) {
  if (section.lines.size() < section.all && section.lines.size() > 1) {
    const std::size_t hidden = section.all - section.lines.size() + 1;
    section.lines.back() = {fmt::format("... and {} more", hidden), Style::faint};
  }
  out.push_back({std::move(section.heading), Style::heading});
  std::ranges::move(section.lines, std::back_inserter(out));
}

std::string title_of(const View& view, std::size_t width, std::string_view hint) {
  std::uint64_t connections = 0;
  for (const TopAgent& agent : view.now.agents) connections += agent.connections;
  std::string title = fmt::format("sluice {}  {} agent{}, {} connection{}", clock_of(view.time),
                                  view.now.agents.size(), view.now.agents.size() == 1 ? "" : "s",
                                  connections, connections == 1 ? "" : "s");
  if (title.size() + 2 + hint.size() <= width) {
    title += std::string(width - title.size() - hint.size(), ' ');
    title += hint;
  }
  return title;
}

}  // namespace

std::string ascii(std::string_view untrusted) {
  std::string out;
  for (const char c : text::printable(untrusted)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 0x80 ? std::string(1, c) : fmt::format("\\x{:02x}", byte);
  }
  return out;
}

std::string short_count(double value, double unit) {
  constexpr std::array<const char*, 5> units = {"", "K", "M", "G", "T"};
  std::size_t scale = 0;
  for (; value >= unit && scale + 1 < units.size(); ++scale) value /= unit;
  const bool is_whole =
      value >= 10 || (scale == 0 && value == static_cast<double>(static_cast<long>(value)));
  return fmt::format("{:.{}f}{}", value, is_whole ? 0 : 1, units[scale]);
}

std::vector<FrameLine> frame(const View& view, ScreenSize size, std::string_view hint) {
  Lines out{{title_of(view, size.columns, hint), Style::title}};
  for (const std::string& note : view.now.notes) out.push_back({ascii(note), Style::reported});
  if (view.now.agents.empty() && view.now.decisions.empty()) {
    out.push_back({"nothing is running", Style::faint});
  } else {
    std::array<Section, 3> sections{agents_of(view, size.columns), blocked_of(view, size.columns),
                                    decisions_of(view, size.columns)};
    // Each has a heading and, where there is room, an empty line above it.
    const std::size_t taken = out.size() + sections.size();
    const bool has_gaps = size.rows == 0 || size.rows > taken + 2 * sections.size();
    const std::size_t heads = taken + (has_gaps ? sections.size() : 0);
    share(size.rows == 0 ? SIZE_MAX : size.rows - std::min(size.rows, heads), sections);
    for (Section& section : sections) {
      if (has_gaps) out.push_back({"", Style::plain});
      append(out, std::move(section));
    }
  }
  if (size.rows > 0 && out.size() > size.rows) out.resize(size.rows);
  for (FrameLine& line : out) line.text = cut(std::move(line.text), size.columns);
  return out;
}

}  // namespace sluice::launcher
