// The sockets of one server: it listens, keeps the limits of connections, and has every request of every
// connection served by a coroutine, all on one I/O thread.
#pragma once

#include <functional>
#include <list>
#include <string>
#include <thread>

#include <boost/asio/io_context.hpp>

#include "common/http/connection.h"

namespace trireme::http {

struct Address {
  std::string host;  // as given; localhost is 127.0.0.1
  net::ip::tcp::endpoint endpoint;
  std::string option;  // that named it, for faults
  bool is_loopback() const { return endpoint.address().is_loopback(); }
};
// "127.0.0.1:8080", "[::1]:0", "localhost:80". Throws kUsage.
Address parse_address(const std::string& text, const std::string& option = "--listen");

class Listener {
 public:
  // Reads one request and answers it; false when the connection is to be closed.
  using Serve = std::function<net::awaitable<bool>(SharedConnection)>;

  // Binds. Throws kConflict when the port is taken, kUsage when it is no address of this host.
  // `limits` outlive it.
  Listener(const Address& address, const Limits& limits, Serve serve);
  ~Listener();  // stop()
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  void start();
  // Cuts every connection and waits until its session has ended, calls in flight included.
  void stop();
  bool stopping() const { return stopping_; }  // I/O thread
  // A connection beyond the limits is heard, but has to find room before it is answered: ask once its header
  // is read. It waits while the others are merely fresh. False: refuse it. I/O thread.
  net::awaitable<bool> let_in(Connection& connection);
  std::size_t followers() const;  // I/O thread

  net::io_context& io() { return io_; }
  int port() const { return port_; }
  const std::string& url() const { return url_; }  // http://127.0.0.1:41234

 private:
  net::awaitable<void> accept_loop();
  bool counts(const Connection& one, const net::ip::address* address) const;
  bool make_room(const net::ip::address& address);
  bool may_have_room() const;
  bool make_spare_room();
  net::awaitable<void> session(SharedConnection connection);

  const Limits& limits_;
  const Serve serve_;
  std::list<SharedConnection> connections_;  // oldest first; I/O thread only
  bool stopping_ = false;                    // I/O thread only
  int port_ = 0;
  std::string url_;
  net::io_context io_{1};
  net::ip::tcp::acceptor acceptor_{io_};
  std::thread thread_;
};

}  // namespace trireme::http
