// Columns that lie beside the shards as parquet (img2dataset's, DataComp's): read once, when the shard is
// scanned, and kept in its index as the samples' .json. A small Python program with pyarrow reads the files.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "common/io/file.h"

namespace trireme::worker::data {

// By key and by uid, each a JSON object of the row's columns.
using JoinedRows = std::unordered_map<std::string, std::string>;

// The rows whose "key" or "uid" is one of `ids`. Python is $TRIREME_PYTHON, .trireme/python of the checkout
// that holds this program, or python3. Throws kNotFound saying what to install when it lacks pyarrow,
// kInvalid naming a file that has neither column or is no parquet.
JoinedRows read_parquet_rows(const std::vector<io::Path>& files, const std::vector<std::string>& ids);

}  // namespace trireme::worker::data
