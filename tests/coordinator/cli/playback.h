// A socket that plays back HTTP answers, one per connection, and keeps what it was asked; beside it the files
// by which a client finds it.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "common/io/file.h"

namespace trireme::coordinator::cli {

class Playback {
 public:
  explicit Playback(std::vector<std::string> answers) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ::bind(socket_, reinterpret_cast<sockaddr*>(&address), size);
    ::listen(socket_, 8);
    ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    folder = std::filesystem::temp_directory_path() / ("trireme-client-" + std::to_string(::getpid()));
    io::write_file_atomic(folder / "endpoint.json",
                          "{\"url\":\"http://127.0.0.1:" + std::to_string(ntohs(address.sin_port)) + "\"}",
                          false);
    io::write_file_atomic(folder / "token", "secret\n", false, 0600);
    thread_ = std::thread([this, answers = std::move(answers)] {
      for (const std::string& answer : answers) serve(answer);
    });
  }
  ~Playback() {
    ::shutdown(socket_, SHUT_RDWR);
    thread_.join();
    ::close(socket_);
    std::filesystem::remove_all(folder);
  }
  io::Path folder;
  std::vector<std::string> asked;

 private:
  void serve(const std::string& answer) {
    const int peer = ::accept(socket_, nullptr, nullptr);
    if (peer < 0) return;
    std::string request;
    char part[4096];
    while (request.find("\r\n\r\n") == std::string::npos) {
      const auto got = ::recv(peer, part, sizeof part, 0);
      if (got <= 0) break;
      request.append(part, static_cast<std::size_t>(got));
    }
    asked.push_back(request);
    ::send(peer, answer.data(), answer.size(), MSG_NOSIGNAL);
    ::shutdown(peer, SHUT_WR);
    while (::recv(peer, part, sizeof part, 0) > 0) {
    }
    ::close(peer);
  }
  int socket_;
  std::thread thread_;
};

inline std::string answer(const std::string& status, const std::string& body) {
  return "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
}

}  // namespace trireme::coordinator::cli
