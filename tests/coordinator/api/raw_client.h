// A client that sends exactly the bytes it is told to, and reads until the server closes.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <stdexcept>
#include <string>

namespace trireme::coordinator::api {

class RawClient {
 public:
  explicit RawClient(int port, const char* from = nullptr) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    if (from != nullptr) {
      const sockaddr_in local = address(from, 0);
      ::bind(socket_, reinterpret_cast<const sockaddr*>(&local), sizeof local);
    }
    const sockaddr_in remote = address("127.0.0.1", port);
    if (::connect(socket_, reinterpret_cast<const sockaddr*>(&remote), sizeof remote) != 0)
      throw std::runtime_error("cannot connect");
    const timeval limit{10, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  ~RawClient() { ::close(socket_); }
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool send(const std::string& bytes) {
    std::size_t done = 0;
    while (done < bytes.size()) {
      const auto sent = ::send(socket_, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
      if (sent <= 0) return false;
      done += static_cast<std::size_t>(sent);
    }
    return true;
  }
  // Up to the close, or to `until`, or 10 s of silence.
  std::string read(const std::string& until = "") {
    std::string text;
    char part[4096];
    for (;;) {
      const auto got = ::recv(socket_, part, sizeof part, 0);
      if (got <= 0) return text;
      text.append(part, static_cast<std::size_t>(got));
      if (!until.empty() && text.find(until) != std::string::npos) return text;
    }
  }

 private:
  static sockaddr_in address(const char* host, int port) {
    sockaddr_in out{};
    out.sin_family = AF_INET;
    out.sin_port = htons(static_cast<std::uint16_t>(port));
    ::inet_pton(AF_INET, host, &out.sin_addr);
    return out;
  }
  int socket_;
};

inline int status_of_answer(const std::string& answer) {
  return answer.size() > 12 ? std::stoi(answer.substr(9, 3)) : 0;
}
inline std::string body_of(const std::string& answer) {
  const std::size_t end = answer.find("\r\n\r\n");
  return end == std::string::npos ? "" : answer.substr(end + 4);
}

}  // namespace trireme::coordinator::api
