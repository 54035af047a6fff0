#include "proxy/auth/password_verifier.h"

#include <crypt.h>
#include <gmock/gmock.h>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <map>
#include <thread>

#include "proxy/auth/password_hash.h"
#include "proxy/auth/proof_cache.h"
#include "proxy/auth/try_limit.h"
#include "proxy/daemon/spawn.h"

namespace sluice::proxy {
namespace {

using namespace asio::experimental::awaitable_operators;
using namespace std::chrono_literals;
using namespace std::string_literals;

constexpr auto longest_wait = 60s;
// Both of "secret". The quick one takes some milliseconds to compare, the slow one a tenth of a
// second and more: many questions fit in while one is under way.
constexpr const char* quick = "$5$rounds=1000$abcdefgh$XIppta5rT8zJUu4vAOKQXrwq9uY4Ijlz6VjyOmkx5i4";
constexpr const char* slow =
    "$5$rounds=400000$abcdefgh$UiPMwPZECOq8NJqJfMMoVqfhD5FX08ugDcpahsN9ix2";
constexpr const char* of_other =
    "$5$rounds=1000$hgfedcba$OOYVsUE.MrI/63BkLMPwQo6cjt3DsBCOMSAksy0T5Q6";

const IpAddress home = *IpAddress::parse("192.0.2.1");

using Verifier = std::unique_ptr<PasswordVerifier>;
Verifier verifier_of(PasswordVerifier::Users users, PasswordRules rules = {}) {
  auto made = PasswordVerifier::create(std::move(users), rules);
  if (!made) throw std::runtime_error(to_string(made.error()));
  return std::move(*made);
}

// What was asked, and what came of it.
struct Asked {
  std::string user;
  std::string password;
  IpAddress from = home;
};
using Proofs = std::vector<Proof>;

Task<void> ask(asio::io_context& io, PasswordVerifier& verifier, Asked what, Proofs& proofs) {
  wire::Credentials credentials{what.user, wire::Secret(what.password)};
  proofs.push_back(co_await verifier.verify(io, std::move(credentials), what.from));
}

// All at once; in the order in which they are answered.
Proofs ask_all(PasswordVerifier& verifier, const std::vector<Asked>& all) {
  asio::io_context io;
  Proofs proofs;
  for (const Asked& one : all) spawn(io, ask(io, verifier, one, proofs));
  io.run_for(longest_wait);
  return proofs;
}
Proof ask_one(PasswordVerifier& verifier, Asked what) {
  const Proofs proofs = ask_all(verifier, {std::move(what)});
  EXPECT_EQ(proofs.size(), 1U) << "no answer";
  return proofs.empty() ? Proof::busy : proofs.front();
}
std::ptrdiff_t count(const Proofs& proofs, Proof which) {
  return std::count(proofs.begin(), proofs.end(), which);
}

TEST(PasswordHash, IsOfAnyMethodThatResistsGuessing) {
  const auto scratch = std::make_unique<crypt_data>();
  const std::string hashes[] = {
      "$y$j75$k2XAnEHBqQ1Ct2aMXFKNa/$Tg4ZRR7tz/WRlmYbADZh9OJYakPewgSPQqW55EXAJ14",
      "$gy$j75$k2XAnEHBqQ1Ct2aMXFKNa/$O2VXkrrbK/nrZECj6gzoetucyvBE.tkY7fQCPxGaah8",
      "$7$BU..../....k2XAnEHBqQ1Ct2aMXFKNa/$kHfmBJfFPI.rM/W7nSK4N.f7gXsq7U/kUJaT.MJMLuC",
      "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
      "$6$rounds=1000$abcdefgh$nhYjN017qxiYztzyUpZtPnUQcnLy62KsunSLHNeLahp2EHPlAKmFFlrjEwSXGo2kgY5h"
      "R2.peKEg2VGUqIJJu1",
      quick,
  };
  for (const std::string& hash : hashes) {
    EXPECT_TRUE(check_password_hash("coder-3", hash)) << hash;
    EXPECT_TRUE(matches(wire::Secret("secret"), hash, *scratch)) << hash;
    for (const std::string_view wrong : {"Secret", "secre", "secret ", ""}) {
      EXPECT_FALSE(matches(wire::Secret(wrong), hash, *scratch)) << hash << wrong;
    }
    EXPECT_FALSE(check_password_hash("coder-3", hash.substr(0, hash.size() - 1))) << hash;
  }
}

TEST(PasswordHash, IsRefusedWithItsUserAndWhatToDo) {
  struct Case {
    std::string_view hash, fault;
  };
  const Case cases[] = {
      {"", "is of no method that is strong enough"},
      {"secret", "is of no method that is strong enough"},
      {"*", "is of no method that is strong enough"},
      {"!", "is of no method that is strong enough"},
      {"abNANd1rDfiNc", "is of no method that is strong enough"},
      {"$1$abcdefgh$cHJi5PXp/ki/ktXzqlk6I1", "is of no method that is strong enough"},
      {"$6$...", "is not whole"},
      {"$5$rounds=1000$abcdefgh$", "is not whole"},
      {"$5$rounds=1000$abcdefgh$XIppta5rT8zJUu4vAOKQXrwq9uY4Ijlz6VjyOmkx5i4\n", "is not whole"},
      {"$5$rounds=1000$abcdefgh$XIppta5rT8zJUu4vAOKQXrwq9uY4Ijlz6VjyOmkx5i!", "is not whole"},
  };
  for (const Case& c : cases) {
    const auto checked = check_password_hash("a\x1b", std::string(c.hash));
    ASSERT_FALSE(checked) << c.hash;
    EXPECT_EQ(checked.error().what, "the password hash of user 'a\\x1b' " + std::string(c.fault));
    EXPECT_EQ(checked.error().hint, "make one with 'mkpasswd -m yescrypt' or 'openssl passwd -6'");
  }
}

TEST(PasswordHash, MatchesNoPasswordThatCryptWouldCutShort) {
  const auto scratch = std::make_unique<crypt_data>();
  EXPECT_FALSE(matches(wire::Secret("secret\0x"s), quick, *scratch));
  EXPECT_FALSE(matches(wire::Secret(std::string(600, 's')), quick, *scratch));
}

TEST(PasswordVerifier, NeedsUsersWithDifferentNamesAndGoodHashes) {
  EXPECT_EQ(PasswordVerifier::create({}).error().what,
            "there is no user who could show a password");
  EXPECT_EQ(PasswordVerifier::create({{"a", quick}, {"b", quick}, {"a", quick}}).error().what,
            "user 'a' is named twice");
  EXPECT_EQ(PasswordVerifier::create({{"a", "$6$..."}}).error().what,
            "the password hash of user 'a' is not whole");
}

TEST(PasswordVerifier, TellsARightPasswordFromAWrongOneAndFromAnUnknownUser) {
  const Verifier verifier = verifier_of({{"coder-3", quick}, {"coder-4", of_other}});
  EXPECT_EQ(ask_one(*verifier, {"coder-3", "secret"}), Proof::right);
  EXPECT_EQ(ask_one(*verifier, {"coder-3", "other"}), Proof::wrong);
  EXPECT_EQ(ask_one(*verifier, {"coder-4", "secret"}), Proof::wrong);
  for (const std::string& name : {"coder-5"s, ""s, "coder-3\0"s, "coder-"s, "zzz"s}) {
    EXPECT_EQ(ask_one(*verifier, {name, "secret"}), Proof::wrong) << name;
  }
}

TEST(PasswordVerifier, HashesForAnUnknownUserAsForAKnownOne) {
  const Verifier verifier = verifier_of({{"coder-3", quick}, {"coder-4", of_other}});
  ask_one(*verifier, {"coder-3", "wrong"});
  EXPECT_EQ(verifier->hashed(), 1U);
  ask_one(*verifier, {"nobody", "wrong"});
  ask_one(*verifier, {"someone", "secret"});
  EXPECT_EQ(verifier->hashed(), 3U);
}

TEST(PasswordVerifier, HashesARightPasswordOnce) {
  const Verifier verifier = verifier_of({{"coder-3", quick}});
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(ask_one(*verifier, {"coder-3", "secret"}), Proof::right);
  }
  EXPECT_EQ(verifier->hashed(), 1U);
  EXPECT_EQ(ask_one(*verifier, {"coder-3", "secret2"}), Proof::wrong);
  EXPECT_EQ(verifier->hashed(), 2U);
}

TEST(PasswordVerifier, HashesManyIdenticalQuestionsOnce) {
  const Verifier verifier = verifier_of({{"coder-3", slow}}, {.tries = 1, .new_try_each = 1h});
  const std::vector<Asked> right(100, Asked{"coder-3", "secret"});
  EXPECT_EQ(count(ask_all(*verifier, right), Proof::right), 100);
  EXPECT_EQ(verifier->hashed(), 1U);
  const std::vector<Asked> wrong(100, Asked{"coder-3", "wrong"});
  EXPECT_EQ(count(ask_all(*verifier, wrong), Proof::wrong), 100);
  EXPECT_EQ(verifier->hashed(), 2U);
}

TEST(PasswordVerifier, LooksAtNoMorePasswordsOfAnAddressThatShowedTooManyWrongOnes) {
  const Verifier verifier =
      verifier_of({{"coder-3", quick}, {"coder-4", of_other}}, {.tries = 3, .new_try_each = 1h});
  EXPECT_EQ(ask_one(*verifier, {"coder-3", "secret"}), Proof::right);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(ask_one(*verifier, {"coder-3", "wrong " + std::to_string(i)}), Proof::wrong);
  }
  EXPECT_EQ(ask_one(*verifier, {"coder-3", "wrong"}), Proof::too_many_tries);
  EXPECT_EQ(ask_one(*verifier, {"coder-4", "other"}), Proof::too_many_tries);
  EXPECT_EQ(verifier->hashed(), 4U);
  EXPECT_EQ(ask_one(*verifier, {"coder-3", "secret"}), Proof::right) << "known before";
  EXPECT_EQ(ask_one(*verifier, {"coder-4", "other", *IpAddress::parse("192.0.2.2")}), Proof::right);
}

TEST(PasswordVerifier, TakesNoTryForARightPassword) {
  const Verifier verifier =
      verifier_of({{"coder-3", quick}}, {.cached_for = 0s, .tries = 1, .new_try_each = 1h});
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(ask_one(*verifier, {"coder-3", "secret"}), Proof::right);
  }
  EXPECT_EQ(verifier->hashed(), 5U);
}

TEST(PasswordVerifier, SaysThatItIsBusyWhenTooManyWait) {
  const Verifier verifier = verifier_of({{"coder-3", slow}}, {.queue = 1});
  const Proofs proofs = ask_all(*verifier, {{"coder-3", "secret"},
                                            {"coder-3", "wrong 1"},
                                            {"coder-3", "wrong 2"},
                                            {"coder-3", "wrong 3"}});
  ASSERT_EQ(proofs.size(), 4U);
  EXPECT_GE(count(proofs, Proof::busy), 1);
  EXPECT_EQ(count(proofs, Proof::right), 1);
}

TEST(PasswordVerifier, AnswersBusyToThoseWhoWaitWhenItEnds) {
  Verifier verifier = verifier_of({{"coder-3", slow}});
  asio::io_context io;
  Proofs proofs;
  for (int i = 0; i < 5; ++i) {
    spawn(io, ask(io, *verifier, {"coder-3", "wrong " + std::to_string(i)}, proofs));
  }
  while (io.poll_one() > 0) {
  }
  verifier.reset();
  io.restart();
  io.run_for(longest_wait);
  EXPECT_EQ(proofs.size(), 5U);
  EXPECT_GE(count(proofs, Proof::busy), 1);
  EXPECT_EQ(count(proofs, Proof::right), 0);
}

TEST(PasswordVerifier, OutlivesCallersThatAreDestroyedOrCancelled) {
  const Verifier verifier = verifier_of({{"coder-3", slow}});
  Proofs proofs;
  {
    asio::io_context destroyed;
    for (int i = 0; i < 5; ++i) {
      spawn(destroyed, ask(destroyed, *verifier, {"coder-3", "gone " + std::to_string(i)}, proofs));
    }
    while (destroyed.poll_one() > 0) {
    }
  }
  asio::io_context io;
  const auto cancelled = [&](int number) -> Task<void> {
    Timer at_once(io, 0s);
    Asked late{"coder-3", "late " + std::to_string(number)};  // a temporary is destroyed twice
    co_await (ask(io, *verifier, std::move(late), proofs) || at_once.async_wait(AsTask()));
  };
  for (int i = 0; i < 3; ++i) spawn(io, cancelled(i));
  io.run_for(longest_wait);
  EXPECT_EQ(count(proofs, Proof::right), 0);
  EXPECT_EQ(ask_one(*verifier, {"coder-3", "secret"}), Proof::right);
  EXPECT_LT(verifier->hashed(), 9U) << "nobody waits for most of them any more";
}

TEST(PasswordVerifier, AnswersManyThreadsAtOnce) {
  const Verifier verifier = verifier_of({{"coder-3", quick}, {"coder-4", of_other}},
                                        {.queue = 1000, .cached = 1, .tries = 1000});
  std::vector<Proofs> proofs(4);
  std::vector<std::thread> threads;
  for (Proofs& mine : proofs) {
    threads.emplace_back([&mine, &verifier] {
      std::vector<Asked> all;
      for (int i = 0; i < 25; ++i) {
        all.push_back({"coder-3", "secret"});
        all.push_back({"coder-4", "other"});
        all.push_back({"coder-3", "wrong " + std::to_string(i % 5)});
      }
      mine = ask_all(*verifier, all);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Proofs& mine : proofs) {
    EXPECT_EQ(count(mine, Proof::right), 50);
    EXPECT_EQ(count(mine, Proof::wrong), 25);
  }
}

TEST(TryLimit, GivesTenTriesAndThenOneEachTwoSeconds) {
  TryLimit limit({});
  const Clock::time_point begin = Clock::now();
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(limit.take(home, begin)) << i;
  EXPECT_FALSE(limit.take(home, begin));
  EXPECT_FALSE(limit.take(home, begin + 1999ms));
  EXPECT_TRUE(limit.take(home, begin + 2s));
  EXPECT_FALSE(limit.take(home, begin + 3s));
  int later = 0;
  while (limit.take(home, begin + 1h)) ++later;
  EXPECT_EQ(later, 10) << "no more gather than there were";
}

TEST(TryLimit, CountsAnIpv6AddressWithItsNeighboursOfTheSame64) {
  TryLimit limit({.tries = 1, .new_try_each = 1h});
  const auto now = Clock::now();
  EXPECT_TRUE(limit.take(*IpAddress::parse("2001:db8::1"), now));
  EXPECT_FALSE(limit.take(*IpAddress::parse("2001:db8::ffff:2"), now));
  EXPECT_TRUE(limit.take(*IpAddress::parse("2001:db8:0:1::1"), now));
  EXPECT_TRUE(limit.take(*IpAddress::parse("192.0.2.1"), now));
  EXPECT_TRUE(limit.take(*IpAddress::parse("192.0.2.2"), now));
}

TEST(TryLimit, TakesBackATryThatWasRight) {
  TryLimit limit({.tries = 1, .new_try_each = 1h});
  const auto now = Clock::now();
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(limit.take(home, now));
    limit.give_back(home, now);
  }
  EXPECT_EQ(limit.size(), 0U);
}

TEST(TryLimit, LetsAllFurtherAddressesShareWhenItsTableIsFull) {
  TryLimit limit({.tries = 2, .new_try_each = 1h, .addresses = 3});
  const auto now = Clock::now();
  const auto address = [](std::uint32_t last) { return IpAddress::v4(0xc0000200 + last); };
  for (std::uint32_t i = 0; i < 3; ++i) EXPECT_TRUE(limit.take(address(i), now));
  EXPECT_TRUE(limit.take(address(3), now));
  EXPECT_TRUE(limit.take(address(4), now));
  EXPECT_FALSE(limit.take(address(5), now));
  EXPECT_FALSE(limit.take(address(6), now));
  EXPECT_TRUE(limit.take(address(0), now)) << "who is in the table has its own";
  EXPECT_EQ(limit.size(), 3U);
  EXPECT_TRUE(limit.take(address(7), now + 24h)) << "old buckets are full again and make room";
  EXPECT_EQ(limit.size(), 1U);
}

TEST(ProofCache, ForgetsAfterItsTimeAndTheOldestFirst) {
  ProofCache cache(2, 10min);
  const auto now = Clock::now();
  const auto digest = [](std::uint8_t of) { return PairDigest{of}; };
  cache.add(digest(1), now);
  EXPECT_TRUE(cache.has(digest(1), now + 9min));
  EXPECT_FALSE(cache.has(digest(1), now + 10min));
  EXPECT_FALSE(cache.has(digest(2), now));
  cache.add(digest(2), now);
  cache.add(digest(3), now);
  EXPECT_FALSE(cache.has(digest(1), now));
  EXPECT_TRUE(cache.has(digest(2), now));
  EXPECT_TRUE(cache.has(digest(3), now));
  cache.add(digest(2), now + 9min);
  EXPECT_TRUE(cache.has(digest(2), now + 15min)) << "shown again, known for longer";
  EXPECT_EQ(cache.size(), 2U);
}

TEST(PairKey, DigestsANameAndAPasswordSoThatNoTwoPairsAreAlike) {
  const auto key = PairKey::draw();
  ASSERT_TRUE(key);
  const auto digest = [&](const std::string& user, const std::string& password) {
    return key->digest({user, wire::Secret(password)});
  };
  EXPECT_EQ(digest("a", "bc"), digest("a", "bc"));
  EXPECT_NE(digest("a", "bc"), digest("ab", "c"));
  EXPECT_NE(digest("a", "bc"), digest("abc", ""));
  EXPECT_NE(digest("a", "bc"), PairKey::draw()->digest({"a", wire::Secret("bc")}));
  EXPECT_EQ(digest("a\0b"s, "c"), std::nullopt) << "the zero byte ends the name";
}

}  // namespace
}  // namespace sluice::proxy
