#include "worker/data/shards/scan/joined_rows.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/io/door.h"
#include "common/io/file.h"
#include "common/io/folder.h"

namespace trireme::worker::data {
namespace {

// argv: a file of ids, one a line; parquet files. A line per row that is wanted: {"ids": […], "row": {…}}.
// Exit 3: no pyarrow; 4: a file that cannot be used, named on the last line.
constexpr const char* kProgram = R"(
import json, math, sys
try:
    import pyarrow.parquet as parquet
except ImportError:
    sys.exit(3)
wanted = set(open(sys.argv[1], encoding="utf-8").read().splitlines())
def plain(value):
    if isinstance(value, float): return value if math.isfinite(value) else None
    if isinstance(value, dict): return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)): return [plain(v) for v in value]
    if isinstance(value, bytes): return value.decode()
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
for path in sys.argv[2:]:
    try:
        file = parquet.ParquetFile(path)
        every = file.schema_arrow.names
        twice = sorted({name for name in every if every.count(name) > 1})
        if twice: raise ValueError("it has several columns of the name " + ", ".join(twice))
        names = [name for name in ("key", "uid") if name in file.schema_arrow.names]
        if not names: raise ValueError("it has no column key and no column uid; its columns are " + ", ".join(file.schema_arrow.names))
        for batch in file.iter_batches(65536):
            columns = [batch.column(batch.schema.get_field_index(name)).to_pylist() for name in names]
            for at, ids in enumerate(zip(*columns)):
                ids = [str(plain(one)) for one in ids if one is not None]
                if not wanted.isdisjoint(ids):
                    row = batch.slice(at, 1).to_pylist()[0]
                    print(json.dumps({"ids": ids, "row": plain(row)}, ensure_ascii=False))
    except Exception as error:
        print(json.dumps({"fault": path + ": " + str(error)}))
        sys.exit(4)
)";

std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string python() {
  if (const char* given = std::getenv("TRIREME_PYTHON")) return given;
  for (io::Path folder = io::own_program().parent_path(); folder.has_relative_path();
       folder = folder.parent_path())
    if (io::exists(folder / ".trireme/python/bin/python3"))
      return (folder / ".trireme/python/bin/python3").string();
  return "python3";
}

void take(const std::string& line, JoinedRows& rows) {
  const auto read = nlohmann::ordered_json::parse(line, nullptr, false);
  if (!read.is_object())
    throw Error(ErrorKind::kInvalid, "reading parquet went wrong: " + printable(line, 400));
  if (read.contains("fault"))
    throw Error(ErrorKind::kInvalid, read["fault"].get<std::string>(), "see parquet of the source");
  const std::string row = read["row"].dump();
  for (const auto& id : read["ids"]) {
    const auto [at, fresh] = rows.emplace(id.get<std::string>(), row);
    if (!fresh && at->second != row)
      throw Error(ErrorKind::kInvalid,
                  "two rows of \"" + printable(at->first, 100) + "\" say different things",
                  "write one parquet per shard, or leave one row of each key and uid");
  }
}

}  // namespace

// The files as another process opens them: behind a door by the descriptors that the door has opened.
class Opened {
 public:
  explicit Opened(const std::vector<io::Path>& files) {
    for (const auto& file : files) {
      if (io::Door::of_this_thread() == nullptr) {
        places_.push_back(file.string());
        continue;
      }
      descriptors_.push_back(io::disk().open(file, O_RDONLY, 0));
      if (descriptors_.back() < 0) throw system_error("cannot open " + file.string(), errno);
      places_.push_back("/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(descriptors_.back()));
    }
  }
  ~Opened() {
    for (const int descriptor : descriptors_) io::disk().close(descriptor);
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
  const std::vector<std::string>& places() const { return places_; }

 private:
  std::vector<int> descriptors_;
  std::vector<std::string> places_;
};

JoinedRows read_parquet_rows(const std::vector<io::Path>& files, const std::vector<std::string>& ids) {
  const Opened opened(files);
  const io::Behind nothing(nullptr);  // the list and the program are ours
  const io::Path list = io::temporary_folder() / ("trireme-ids-" + std::to_string(::getpid()));
  std::string text;
  for (const auto& id : ids) text += id + "\n";
  io::write_file_atomic(list, text, false);
  std::string command = quoted(python()) + " -c " + quoted(kProgram) + " " + quoted(list.string());
  for (const auto& place : opened.places()) command += " " + quoted(place);
  std::FILE* const pipe = ::popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) throw system_error("cannot start " + python(), errno);
  JoinedRows rows;
  std::string fault, line;
  try {
    char piece[65536];
    while (std::fgets(piece, sizeof piece, pipe) != nullptr) {
      line += piece;
      if (!line.ends_with('\n')) continue;
      line.pop_back();
      take(line, rows);
      line.clear();
    }
  } catch (const Error& error) {
    fault = error.what();
  }
  const int status = ::pclose(pipe);
  io::remove_file(list);
  if (WIFEXITED(status) && (WEXITSTATUS(status) == 3 || WEXITSTATUS(status) == 127))
    throw Error(ErrorKind::kNotFound, python() + " has no pyarrow, which reads parquet",
                "pip install pyarrow, or name a Python that has it in TRIREME_PYTHON");
  if (!fault.empty()) throw Error(ErrorKind::kInvalid, fault);
  if (status != 0)
    throw Error(ErrorKind::kInvalid, "reading parquet ended with status " + std::to_string(status));
  return rows;
}

}  // namespace trireme::worker::data
