// Looks at the files that a job names, once, before its graph is built: shards of every data set in manifest
// order, the class files beside them, weights. Reads no shard but for the first headers of a tar whose layout
// has to be guessed.
//   FILE.tar                  one shard
//   FOLDER with nshards.txt   CLIP_benchmark: 0.tar … N-1.tar
//   FOLDER with *.tar         in natural order (2.tar before 10.tar)
//   FOLDER with train/ or test/ alone   that split
//   FILE.csv, FILE.tsv        a table of image paths and captions
#pragma once

#include <string>
#include <vector>

#include "coordinator/planner/task_graph.h"

namespace trireme::coordinator::planner {

// Every fault with its pointer: "not_found" with the --set that points elsewhere, "invalid".
ListedJob list_job(const jobs::JobSpec& job, std::vector<jobs::SpecFault>& faults);
// The same, all faults in one error (kNotFound when one of them is, else kInvalid).
ListedJob list_job(const jobs::JobSpec& job);

struct ListedShards {
  std::vector<std::string> paths;  // absolute
  std::string format;              // "webdataset", "clip_benchmark", "table"
};
// Throws kNotFound or kInvalid.
ListedShards expand_path(const std::string& path, const std::string& format);

// 2.tar before 10.tar: digits compare as numbers.
bool natural_less(const std::string& a, const std::string& b);

}  // namespace trireme::coordinator::planner
