// One index whose parts are served by several search services, on other hosts: a query becomes an embedding
// at one of them, is asked of all at once, and their hits are merged by score. An exact search finds what one
// index of all rows would; an approximate one no less. Parts have one model, which every call names. One I/O
// thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <nlohmann/json.hpp>

#include "coordinator/serve/remote_service.h"
#include "jobs/search/frames.h"
#include "jobs/search/query.h"

namespace trireme::coordinator::serve {

class SpreadIndex {
 public:
  // `given`: "NAME=ADDRESS,ADDRESS…" (RemoteService). Throws kUsage.
  SpreadIndex(net::io_context& io, const std::string& given, const std::string& token);

  ~SpreadIndex();

  const std::string& name() const { return name_; }
  // Asks every part what it serves.
  net::awaitable<void> look();
  // Every part has been seen, and they fit one another.
  bool is_ready() const { return ready_; }
  // Why they do not, or which is missing; "" otherwise.
  const std::string& failure() const { return failure_; }
  nlohmann::ordered_json description() const;

  // As WorkerPool::call. A part that does not answer is named in the answer's "damaged", the others serve.
  net::awaitable<jobs::Frame> call(jobs::SearchCall what, std::string body);

 private:
  struct Part;
  struct Found;
  using Rows = std::vector<std::vector<float>>;
  using Json = nlohmann::ordered_json;

  void see(Part& part, const RemoteAnswer& answer);
  net::awaitable<std::vector<RemoteAnswer>> ask(std::vector<std::size_t> parts, std::string method,
                                                std::vector<std::string> targets,
                                                std::vector<std::string> bodies);
  net::awaitable<std::string> answer(jobs::SearchCall what, const std::string& body);
  net::awaitable<Rows> part_rows(const std::vector<jobs::QueryPart>& query);
  net::awaitable<void> rows_of_items(const std::vector<jobs::QueryPart>& query, Rows& rows);
  net::awaitable<void> rows_of_others(const std::vector<jobs::QueryPart>& query, Rows& rows);
  net::awaitable<std::string> search(jobs::SearchQuery query);
  net::awaitable<std::string> of_item(jobs::SearchCall what, const std::string& id);
  net::awaitable<std::string> metadata(const std::string& body);
  std::vector<std::size_t> owners(std::string_view id) const;
  std::vector<std::size_t> all() const;
  std::string index_of(std::size_t part) const;
  Found gathered(const std::vector<RemoteAnswer>& answers);

  net::io_context& io_;
  std::string name_, model_, failure_;
  std::vector<std::unique_ptr<Part>> parts_;
  std::unordered_map<std::string, std::size_t> owner_;  // by the segment's part of an id
  std::size_t next_ = 0;                                // whose model is asked next
  bool ready_ = false;
};

}  // namespace trireme::coordinator::serve
