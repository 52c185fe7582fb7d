// The files behind one source of a data set, and what is decided about them before anything is read whole.
//   FILE.tar                       one shard
//   FOLDER with nshards.txt        CLIP_benchmark: 0.tar … N-1.tar
//   FOLDER with *.tar              in natural order (2.tar before 10.tar)
//   FOLDER with metadata.csv/.jsonl, or folders of it   an image folder's tables
//   FOLDER of pictures             a shard per folder that holds some (img2dataset's "files")
//   FOLDER, layout class_folders   a shard per class
//   FOLDER with one split (train/, test/ …)   that split
//   FILE.csv, FILE.tsv, FILE.jsonl   a table of image paths and captions
// Hidden files, and what editors and downloads leave, are no data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "jobs/specification/data_spec.h"

namespace trireme::coordinator::planner {

struct ListedSource {
  std::vector<std::string> paths;  // absolute; folders for "files" and "class_folders"
  jobs::DataFormat format = jobs::DataFormat::kUnset;
  jobs::SourceSpec resolved;         // the source with what was found out, where that is not the default
  std::vector<std::string> classes;  // names of class folders
  std::string decided;               // all of it in one line
  std::vector<std::string> notes;    // what looks like data and was not taken
};

// Throws kNotFound or kInvalid.
ListedSource list_source(const jobs::SourceSpec& source);

}  // namespace trireme::coordinator::planner
