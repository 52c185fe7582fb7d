// Libraries that are no plug-in for this program, made on the spot.
#include "worker/collective/cuda_plugin.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "common/base/error.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "worker/collective/nccl/nccl_plugin.h"

namespace trireme::worker::collective {
namespace {

std::string folder_with(const std::string& source) {
  const io::Path folder = io::Path(::testing::TempDir()) / ("trireme-plugin-" + std::to_string(::getpid())) /
                          ::testing::UnitTest::GetInstance()->current_test_info()->name();
  io::make_folders(folder);
  io::write_file_atomic(folder / "plugin.c", source);
  const std::string make =
      "cc -shared -fPIC -o " + (folder / kCudaPluginName).string() + " " + (folder / "plugin.c").string();
  EXPECT_EQ(std::system(make.c_str()), 0) << make;
  return folder.string();
}

std::string refusal(const std::string& path, ErrorKind kind) {
  try {
    const CudaPlugin plugin(path);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  return "nothing was refused";
}

TEST(CudaPlugin, OfAnotherTorchIsRefusedWithBothVersions) {
  const auto why =
      refusal(folder_with("const char* trireme_plugin_torch(void) { return \"1.13.1+cu117\"; }\n"),
              ErrorKind::kUnavailable);
  EXPECT_NE(why.find("was built with torch 1.13.1+cu117, this program with 2."), std::string::npos) << why;
}

TEST(CudaPlugin, AForeignLibraryAndNoneAreRefusedByName) {
  const auto foreign = refusal(folder_with("int other;\n"), ErrorKind::kUnavailable);
  EXPECT_NE(foreign.find("has no trireme_plugin_torch"), std::string::npos) << foreign;
  const auto missing = refusal("/nowhere/libtrireme_cuda.so", ErrorKind::kNotFound);
  EXPECT_NE(missing.find("is not there"), std::string::npos) << missing;
}

}  // namespace
}  // namespace trireme::worker::collective
