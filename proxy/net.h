// Asio names with our defaults: one executor type, outcomes as values, nothing thrown on the data
// path.
#pragma once

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/basic_datagram_socket.hpp>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>

#include "base/ip_address.h"

namespace sluice::proxy {

namespace asio = boost::asio;
using ErrorCode = boost::system::error_code;
using Clock = std::chrono::steady_clock;

// Sessions never leave the io_context of their thread, so the executor's type is concrete.
using Executor = asio::io_context::executor_type;

// Habits that GCC 12 asks for: no aggregate temporary among the arguments of an awaited call (it is
// destroyed twice), and no co_await in a condition or behind && or || (in a loop's condition it is
// evaluated first, in others the frame is read wrongly): a statement of its own instead, which
// tests/await_test.py asks for.
//
// A network error is an ordinary outcome here, so every operation returns [error_code, value]. It
// is awaited in place: without a coroutine frame of its own.
using Token = asio::as_tuple_t<asio::deferred_t>;
// For the operators && and ||, which take coroutines.
using AsTask = asio::as_tuple_t<asio::use_awaitable_t<Executor>>;
template <class T>
using Task = asio::awaitable<T, Executor>;

using Tcp = asio::ip::tcp;
using TcpEndpoint = Tcp::endpoint;
using Socket = Token::as_default_on_t<asio::basic_stream_socket<Tcp, Executor>>;
using Acceptor = Token::as_default_on_t<asio::basic_socket_acceptor<Tcp, Executor>>;
using UdpSocket = Token::as_default_on_t<asio::basic_datagram_socket<asio::ip::udp, Executor>>;
using Timer =
    Token::as_default_on_t<asio::basic_waitable_timer<Clock, asio::wait_traits<Clock>, Executor>>;

// Conversions between Asio's addresses and ours; an IPv4-mapped address becomes the IPv4 address it
// is.
IpAddress from_asio(const asio::ip::address& address) noexcept;
asio::ip::address to_asio(const IpAddress& address) noexcept;

}  // namespace sluice::proxy
