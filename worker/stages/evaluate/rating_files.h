// Files of people's ratings: Crisscrossed Captions' (.csv) and SimLex-999's (tabs), plain or gzip. Faults
// (kInvalid) name file and line.
#pragma once

#include <string>
#include <vector>

namespace trireme::worker::stages::evaluate {

enum class RatedPair { kImages, kCaptionImage, kCaptions };  // sis, sits, sts: told by the head of the file

struct RatingFile {
  RatedPair kind = RatedPair::kImages;
  struct Row {
    std::string first, second;  // ids as plain_id() writes them
    double rating = 0;          // 0 to 5
  };
  std::vector<Row> rows;
};
RatingFile read_ratings(const std::string& path);

// "COCO_val2014:sentid:732091" is 732091, "val2014/COCO_val2014_000000365325.jpg" COCO_val2014_000000365325.
std::string plain_id(const std::string& id);

struct WordPair {
  std::string first, second;
  char part_of_speech = 'N';  // A, N, V
  int quartile = 1;           // of concreteness, 1 to 4
  bool associated = false;    // among the 333 most associated pairs
  double rating = 0;
};
std::vector<WordPair> read_word_pairs(const std::string& path);

}  // namespace trireme::worker::stages::evaluate
