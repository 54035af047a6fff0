#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "allowlists/tools/diff.h"
#include "base/text.h"

namespace sluice::allowlists {
namespace {

constexpr std::size_t most_exceptions_shown = 3;

bool passes(const DiffAnswer& answer) { return answer.verdict != Verdict::deny; }

std::string_view tls_name(TlsMode tls) {
  switch (tls) {
    case TlsMode::require:
      return "require";
    case TlsMode::match:
      return "match";
    case TlsMode::off:
      return "off";
  }
  return "";
}

std::string_view change_name(DiffChange change) {
  switch (change) {
    case DiffChange::opens:
      return "opens";
    case DiffChange::closes:
      return "closes";
    case DiffChange::changes:
      return "changes";
  }
  return "";
}

std::string_view kind_name(DiffKind kind) {
  switch (kind) {
    case DiffKind::host:
      return "host";
    case DiffKind::below:
      return "below";
    case DiffKind::any_other_name:
      return "any_other_name";
    case DiffKind::regex:
      return "regex";
    case DiffKind::any_other_address:
      return "any_other_address";
    case DiffKind::range:
      return "range";
  }
  return "";
}

std::string_view via_name(DiffVia via) {
  switch (via) {
    case DiffVia::either:
      return "either";
    case DiffVia::literal:
      return "literal";
    case DiffVia::resolved:
      return "resolved";
  }
  return "";
}

std::string exceptions_text(const std::vector<std::string>& except) {
  if (except.empty()) return "";
  std::string text = " (apart from ";
  for (std::size_t i = 0; i < except.size() && i < most_exceptions_shown; ++i) {
    text += (i == 0 ? "" : ", ") + text::printable(except[i]);
  }
  if (except.size() > most_exceptions_shown) {
    text += fmt::format(" and {} more", except.size() - most_exceptions_shown);
  }
  return text + ')';
}

std::string via_text(DiffVia via) {
  if (via == DiffVia::literal) return ", asked for as an address";
  if (via == DiffVia::resolved) return ", for names that resolve there";
  return "";
}

std::string demands_text(const DiffStatement& statement) {
  const DiffAnswer& old = statement.before;
  const DiffAnswer& now = statement.after;
  std::string text;
  if (old.tls != now.tls) {
    text += fmt::format(", tls {} instead of {}", tls_name(now.tls), tls_name(old.tls));
  }
  if (old.refuse_ech != now.refuse_ech) {
    text += now.refuse_ech ? ", ech refused" : ", ech no longer refused";
  }
  return text;
}

std::string refusal_text(std::string_view word, const DiffAnswer& answer) {
  if (answer.rule == "default") return "";
  return fmt::format(", {} {} ({})", word, reason_name(answer.reason),
                     text::printable(answer.rule));
}

std::string answers_text(const DiffStatement& statement) {
  const DiffAnswer& old = statement.before;
  const DiffAnswer& now = statement.after;
  const auto rule = [](const DiffAnswer& answer) {
    return fmt::format("({})", text::printable(answer.rule));
  };
  const bool reported = now.verdict == Verdict::report;
  if (!passes(old)) {
    return ' ' + rule(now) + (reported ? ", reported" : "") + refusal_text("was", old);
  }
  if (!passes(now)) return ", was " + rule(old) + refusal_text("now", now);
  std::string text = ' ' + rule(now) + demands_text(statement);
  if (old.verdict != now.verdict) {
    text += reported ? ", reported instead of allowed" : ", allowed instead of reported";
  }
  return text + ", was " + rule(old);
}

constexpr std::string_view signs = "+-~";

std::string line_of(const DiffSetting& setting) {
  const auto value = [](const std::string& text) {
    return text.empty() ? std::string_view("not set") : std::string_view(text);
  };
  return fmt::format("  {} {}{}: {}, was {}\n", signs[static_cast<std::size_t>(setting.change)],
                     setting.key,
                     setting.subject.empty() ? "" : ' ' + text::printable(setting.subject),
                     value(setting.after), value(setting.before));
}

std::string line_of(const DiffStatement& statement) {
  const std::string by_rule = statement.kind == DiffKind::regex ? ", by rule" : "";
  return fmt::format("  {} {}{} {}{}{}{}\n", signs[static_cast<std::size_t>(statement.change)],
                     text::printable(statement.subject), exceptions_text(statement.except),
                     ports_text(statement.ports), via_text(statement.via), answers_text(statement),
                     by_rule);
}

nlohmann::ordered_json answer_json(const DiffAnswer& answer, const DiffAnswer& other) {
  nlohmann::ordered_json json = {{"verdict", verdict_name(answer.verdict)},
                                 {"reason", reason_name(answer.reason)},
                                 {"rule", answer.rule}};
  if (answer.tls != other.tls) json["tls"] = tls_name(answer.tls);
  if (answer.refuse_ech != other.refuse_ech) json["ech"] = answer.refuse_ech ? "deny" : "allow";
  return json;
}

nlohmann::ordered_json pattern_json(const std::optional<std::string>& pattern) {
  return pattern ? nlohmann::ordered_json(*pattern) : nlohmann::ordered_json();
}

// What every object begins with.
nlohmann::ordered_json json_of(const DiffAgents& agents, DiffChange change, std::string_view kind) {
  return {{"agent", agents.name},
          {"old_entry", pattern_json(agents.from)},
          {"new_entry", pattern_json(agents.to)},
          {"example", agents.example},
          {"change", change_name(change)},
          {"kind", kind}};
}

std::string dump(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace

std::string diff_text(const PolicyDiff& difference) {
  if (difference.agents.empty()) return "nothing changes\n";
  std::string text;
  for (const AgentDiff& group : difference.agents) {
    const bool one = group.agents.size() == 1 && group.agents.front().headline.front() != '"' &&
                     group.agents.front().headline == group.agents.front().name;
    text += (text.empty() ? "" : "\n") + std::string(one ? "agent" : "agents");
    for (std::size_t i = 0; i < group.agents.size(); ++i) {
      text += (i == 0 ? " " : ", ") + group.agents[i].headline;
    }
    text += '\n';
    for (const DiffStatement& statement : group.statements) text += line_of(statement);
    for (const DiffSetting& setting : group.settings) text += line_of(setting);
  }
  return text;
}

std::string diff_json(const DiffAgents& agents, const DiffStatement& statement) {
  nlohmann::ordered_json json = json_of(agents, statement.change, kind_name(statement.kind));
  json["subject"] = statement.subject;
  if (!statement.except.empty()) json["except"] = statement.except;
  if (statement.kind >= DiffKind::any_other_address) json["via"] = via_name(statement.via);
  json["ports"] = ports_words(statement.ports);
  json["old"] = answer_json(statement.before, statement.after);
  json["new"] = answer_json(statement.after, statement.before);
  return dump(json);
}

std::string diff_json(const DiffAgents& agents, const DiffSetting& setting) {
  nlohmann::ordered_json json = json_of(agents, setting.change, "setting");
  const auto or_null = [](const std::string& text) {
    return text.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(text);
  };
  json["setting"] = setting.key;
  if (!setting.subject.empty()) json["subject"] = setting.subject;
  json["old"] = or_null(setting.before);
  json["new"] = or_null(setting.after);
  return dump(json);
}

}  // namespace sluice::allowlists
