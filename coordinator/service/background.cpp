#include "coordinator/service/background.h"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

namespace trireme::coordinator::service {

Background::Background() : pool_(std::make_unique<boost::asio::thread_pool>(1)) {}

Background::~Background() {
  finish();
}

void Background::run(std::function<void()> work) {
  boost::asio::post(*pool_, std::move(work));
}

void Background::finish() {
  pool_->join();
}

}  // namespace trireme::coordinator::service
