#include "coordinator/service/background.h"

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>

#include "common/io/door.h"

namespace trireme::coordinator::service {

Background::Background(const io::Door* door)
    : door_(door), pool_(std::make_unique<boost::asio::thread_pool>(1)) {}

Background::~Background() {
  finish();
}

void Background::run(std::function<void()> work) {
  boost::asio::post(*pool_, [door = door_, work = std::move(work)] {
    const io::Behind behind(door);
    work();
  });
}

void Background::finish() {
  pool_->join();
}

}  // namespace trireme::coordinator::service
