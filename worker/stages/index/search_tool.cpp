#include "worker/stages/index/search_tool.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/folder.h"
#include "jobs/store/run_files.h"
#include "worker/data/batches/image_batch.h"
#include "worker/data/shards/shard_reader.h"
#include "worker/embedding/texts.h"
#include "worker/search/exact_index.h"
#include "worker/stages/index/contact_sheet.h"
#include "worker/stages/index/index_folder.h"

namespace trireme::worker::stages::index {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kThumbnailPx = 256;

at::Tensor embed_picture(models::DualEncoder& model, const std::string& path) {
  const std::string bytes = io::read_file(path, std::uint64_t{256} << 20);
  const auto picture = data::evaluation_batch(
      1, [&](std::size_t, std::string&) { return data::EncodedPicture{bytes}; }, model.image_preprocess());
  if (!picture.faults.empty()) {
    throw Error(ErrorKind::kInvalid, "the picture " + path + " cannot be read: " + picture.faults[0].second,
                "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF and HEIC pictures can be searched for");
  }
  return model.encode_image(picture.image_BCHW);
}

// Pictures of the hits out of their shards, each shard opened once.
class Thumbnails {
 public:
  explicit Thumbnails(const IndexFolder& index) : index_(index) {}

  std::string of(const IndexedItem& item) {
    try {
      auto& reader = readers_[item.shard];
      const auto& shard = index_.shards[static_cast<std::size_t>(item.shard)];
      if (!reader) reader = std::make_unique<data::ShardReader>(shard.path, shard.index);
      std::string storage;
      data::Image picture;
      const auto bytes = reader->image_bytes(item.sample, storage);
      const data::DecodeRequest request{.least_side_px = kThumbnailPx,
                                        .options = data::picture_options(*reader)};
      if (!data::decode_image(bytes, request, picture).empty()) return "";
      return data::jpeg_thumbnail(picture, kThumbnailPx);
    } catch (const Error& error) {  // shards may have moved since; the ranks stand without pictures
      if (!warned_) log_warning("search", error.what());
      warned_ = true;
      return "";
    }
  }

 private:
  const IndexFolder& index_;
  std::map<std::int64_t, std::unique_ptr<data::ShardReader>> readers_;
  bool warned_ = false;
};

std::string first_caption(const IndexedItem& item) {
  return item.captions.empty() ? "" : item.captions.front();
}

std::string write_page(const SearchOptions& options, const IndexFolder& index,
                       const std::vector<search::Hit>& hits) {
  if (options.html == "none") return "";
  const bool is_run = io::exists(store::RunPaths{options.run}.index());
  // Nothing is ever written into an index folder: its files are listed by hash.
  const io::Path page = !options.html.empty()
                            ? io::Path(options.html)
                            : (is_run ? io::Path(options.run) / "search.html" : io::Path("search.html"));
  Thumbnails thumbnails(index);
  std::vector<SheetPicture> pictures;
  for (const auto& hit : hits) {
    const auto& item = index.items[static_cast<std::size_t>(hit.row)];
    pictures.push_back({static_cast<std::int64_t>(pictures.size()) + 1, hit.score, item.key,
                        first_caption(item), thumbnails.of(item)});
  }
  try {
    io::write_file_atomic(page, contact_sheet(query_text(options.query), pictures), /*durable=*/false);
  } catch (const Error& error) {
    if (!options.html.empty()) throw;
    log_warning("search", error.what());  // a run folder that only may be read still answers
    return "";
  }
  return page.string();
}

void print_text(const IndexFolder& index, const std::vector<search::Hit>& hits, const std::string& page) {
  std::cout << "rank   score  key\n";
  for (std::size_t i = 0; i < hits.size(); ++i) {
    const auto& item = index.items[static_cast<std::size_t>(hits[i].row)];
    char number[48];
    std::snprintf(number, sizeof number, "%4zu  %6.4f  ", i + 1, static_cast<double>(hits[i].score));
    std::cout << number << printable(item.key, 200) << "  " << printable(first_caption(item), 200) << "\n";
  }
  if (!page.empty()) std::cout << "pictures: " << page << "\n";
}

void print_json(const SearchOptions& options, const IndexFolder& index, const std::vector<search::Hit>& hits,
                const std::string& page) {
  nlohmann::ordered_json out = {{"query", query_text(options.query)},
                                {"hits", nlohmann::ordered_json::array()}};
  for (std::size_t i = 0; i < hits.size(); ++i) {
    const auto& item = index.items[static_cast<std::size_t>(hits[i].row)];
    const auto& shard = index.shards[static_cast<std::size_t>(item.shard)];
    out["hits"].push_back({{"rank", i + 1},
                           {"score", hits[i].score},
                           {"key", item.key},
                           {"captions", item.captions},
                           {"shard", shard.path},
                           {"sample", item.sample}});
  }
  if (!page.empty()) out["html"] = page;
  std::cout << out.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) << "\n";
}

}  // namespace

at::Tensor embed_query(models::DualEncoder& model, const std::vector<QueryPart>& parts) {
  const at::NoGradGuard no_gradients;
  at::Tensor sum_1D = at::zeros({1, model.spec().embed_dim});
  for (const auto& part : parts) {
    sum_1D +=
        part.sign * (part.image ? embed_picture(model, part.value)
                                : embedding::encode_texts(model, "cpu", {part.value}, /*project=*/true).rows);
  }
  const auto norm = sum_1D.norm().item<double>();
  if (!(norm > 1e-6)) {
    throw Error(ErrorKind::kInvalid, "the parts of the query cancel out: " + query_text(parts),
                "leave one of them out");
  }
  return sum_1D / norm;
}

std::string query_text(const std::vector<QueryPart>& parts) {
  std::string out;
  for (const auto& part : parts) {
    if (part.sign < 0) out += out.empty() ? "- " : " - ";
    if (part.sign > 0 && !out.empty()) out += " + ";
    out += part.image ? io::Path(part.value).filename().string() : part.value;
  }
  return out;
}

int run_search(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  if (std::find(arguments.begin(), arguments.end(), "--help") != arguments.end()) {
    std::cout << kSearchUsage << "\n";
    return 0;
  }
  const SearchOptions options = parse_search(arguments);
  const IndexFolder index = read_index(options.run);
  auto model = models::DualEncoder::load(index.model.string());
  const auto query = embed_query(*model, options.query);
  const auto hits = search::ExactIndex(index.image_ND).search(query, options.k).front();
  const std::string page = write_page(options, index, hits);
  if (options.json) {
    print_json(options, index, hits, page);
  } else {
    print_text(index, hits, page);
  }
  return 0;
}

}  // namespace trireme::worker::stages::index
