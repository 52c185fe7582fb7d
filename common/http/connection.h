// One HTTP connection: a request is read and an answer is written within the server's deadlines and limits.
// Lives on the I/O thread, shared by the session and by whoever may have to cut it.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include "common/http/limits.h"
#include "common/http/messages.h"

namespace trireme::http {

namespace net = boost::asio;
using boost::system::error_code;

constexpr auto kAwait = net::as_tuple(net::use_awaitable);

struct Connection {
  using Parser = boost::beast::http::request_parser<boost::beast::http::string_body>;
  // `limits` outlives the connection.
  Connection(net::ip::tcp::socket socket, net::ip::address from, const Limits& limits);

  // The next bytes of the peer within `deadline`, into `buffer`.
  net::awaitable<error_code> read_some(std::chrono::milliseconds deadline);
  net::awaitable<error_code> read_header(Parser& parser);
  net::awaitable<error_code> read_body(Parser& parser);  // answers "Expect: 100-continue"
  // False: the connection is to be closed.
  net::awaitable<bool> send(Response response, std::string request_id, bool keep_alive);
  // Answers and closes although the peer may still be sending: what it sends is read and dropped for a while,
  // because closing at once would reset the connection before the answer is read.
  net::awaitable<void> refuse(Response response, std::string request_id);
  // An answer in chunks: its head, then chunks, then the end.
  net::awaitable<bool> start_chunks(const Response& response, const std::string& request_id);
  net::awaitable<bool> send_chunk(const std::string& text);
  net::awaitable<void> end_chunks();

  net::ip::address address;
  boost::beast::tcp_stream stream;
  boost::beast::flat_buffer buffer;
  net::steady_timer timer;
  bool answering = false;  // from the header on that was let in to the end of its answer
  bool following = false;  // a reader of a log; counts apart
  bool spare = false;      // taken beyond the limits: only what is never refused is answered
  // When it was accepted, or last answered: its peer gets a moment to speak, or to read.
  std::chrono::steady_clock::time_point quiet_since = std::chrono::steady_clock::now();
  // Whether the peer has closed its side.
  bool peer_gone();

 private:
  const Limits& limits_;
};
using SharedConnection = std::shared_ptr<Connection>;

// What the header says, names in lower case; no body yet.
Request request_of(const Connection::Parser& parser, std::string request_id);

// The answer to bytes that are no acceptable request; nothing when the peer went away or was too slow.
std::optional<Response> refusal_of(error_code code, const Limits& limits, const std::string& request_id);

}  // namespace trireme::http
