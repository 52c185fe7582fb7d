// Another search service, asked over HTTP; connections are kept and used again. One I/O thread.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/beast/core/tcp_stream.hpp>

namespace trireme::coordinator::serve {

namespace net = boost::asio;

struct RemoteAnswer {
  int status = 0;  // 0: it cannot be reached, or was silent for too long
  std::string body;
};

std::string detail_of(const RemoteAnswer& answer);  // of a refusal; "" where it says nothing

class RemoteService {
 public:
  // `address`: "http://HOST:PORT", or with "/INDEX" where it serves several. `token`: "" for an open door.
  // Throws kUsage.
  RemoteService(net::io_context& io, const std::string& address, std::string token);

  const std::string& url() const { return url_; }      // http://HOST:PORT
  const std::string& index() const { return index_; }  // "": its only one

  net::awaitable<RemoteAnswer> call(std::string method, std::string target, std::string body,
                                    std::chrono::milliseconds limit);

 private:
  using Stream = std::unique_ptr<boost::beast::tcp_stream>;
  struct Exchange;
  net::awaitable<Stream> connected();
  net::awaitable<bool> exchange(Exchange& one, boost::beast::tcp_stream& stream,
                                std::chrono::milliseconds limit);

  net::io_context& io_;
  std::string url_, host_, port_, index_, token_;
  std::vector<Stream> kept_;
};

}  // namespace trireme::coordinator::serve
