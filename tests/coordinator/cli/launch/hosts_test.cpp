#include "coordinator/cli/launch/hosts.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <map>

#include "common/base/error.h"
#include "common/io/file.h"

namespace trireme::coordinator::cli {
namespace {

std::string text_of(const std::vector<Host>& hosts) {
  std::string text;
  for (const Host& host : hosts) text += host.name + ":" + std::to_string(host.slots) + " ";
  return text;
}

std::string what_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(Hosts, NamedOnTheCommandLine) {
  EXPECT_EQ(text_of(parse_hosts("a:8,b:8")), "a:8 b:8 ");
  EXPECT_EQ(text_of(parse_hosts("a,10.77.0.2:3")), "a:0 10.77.0.2:3 ");
  EXPECT_EQ(text_of(parse_hosts("a:1,a:2")), "a:3 ");
  for (const char* bad : {"", "a,", "a:0", "a:x", "a:8;rm", "-oProxyCommand=x", "a b", "a:-1"})
    EXPECT_NE(what_of([&] { parse_hosts(bad); }).find("--hosts"), std::string::npos) << bad;
}

TEST(Hosts, HostfilesOfOpenMpiPbsAndLsf) {
  EXPECT_EQ(text_of(parse_hostfile("# all\na slots=2 max_slots=4\n\n b   slots=3 # two\nc\n", "F")),
            "a:2 b:3 c:1 ");
  EXPECT_EQ(text_of(parse_hostfile("n1\nn1\nn2\n", "F")), "n1:2 n2:1 ");
  EXPECT_NE(what_of([] { parse_hostfile("a slots=2\nb slots=two\n", "F"); }).find("F line 2: 'b slots=two'"),
            std::string::npos);
  EXPECT_NE(what_of([] { parse_hostfile("# nothing\n", "F"); }).find("F names no host"), std::string::npos);
}

TEST(Hosts, SlurmsLists) {
  EXPECT_EQ(expand_nodes("gpu[01-03,7],login"),
            (std::vector<std::string>{"gpu01", "gpu02", "gpu03", "gpu7", "login"}));
  EXPECT_EQ(expand_nodes("r[9-11]-ib"), (std::vector<std::string>{"r9-ib", "r10-ib", "r11-ib"}));
  EXPECT_EQ(expand_counts("2(x3),1"), (std::vector<int>{2, 2, 2, 1}));
  for (const char* bad : {"", "a[", "a[3-1]", "a[x]", "a[1-2-3]", "a b"})
    EXPECT_THROW(expand_nodes(bad), Error) << bad;
  for (const char* bad : {"", "x", "2(x", "2(x0)", "0"}) EXPECT_THROW(expand_counts(bad), Error) << bad;
}

TEST(Hosts, BatchSystemsAreFoundInTheEnvironment) {
  std::map<std::string, std::string> variables;
  const auto get = [&](const std::string& name) { return variables.count(name) != 0 ? variables[name] : ""; };
  EXPECT_TRUE(hosts_of_environment(get).hosts.empty());
  variables = {{"SLURM_JOB_ID", "12"}, {"SLURM_JOB_NODELIST", "n[1-2]"}, {"SLURM_TASKS_PER_NODE", "4(x2)"}};
  EXPECT_EQ(text_of(hosts_of_environment(get).hosts), "n1:4 n2:4 ");
  EXPECT_EQ(hosts_of_environment(get).source, "Slurm job 12");
  variables["SLURM_TASKS_PER_NODE"] = "4";
  EXPECT_NE(what_of([&] { hosts_of_environment(get); }).find("2 nodes but counts tasks for 1"),
            std::string::npos);
  const io::Path file = io::Path(::testing::TempDir()) / ("hosts-" + std::to_string(::getpid()));
  io::write_file_atomic(file, "w-0 slots=2\nw-1 slots=2\n");
  variables = {{"OMPI_MCA_orte_default_hostfile", file.string()}};
  EXPECT_EQ(text_of(hosts_of_environment(get).hosts), "w-0:2 w-1:2 ");
  variables = {{"PBS_NODEFILE", file.string()}, {"PBS_JOBID", "7.server"}};
  EXPECT_EQ(hosts_of_environment(get).source, "PBS job 7.server");
  io::write_file_atomic(file, "n1\nn1\nn2\n");  // a line per slot
  variables = {{"LSB_DJOB_HOSTFILE", file.string()}, {"LSB_JOBID", "3"}};
  EXPECT_EQ(hosts_of_environment(get).source + " " + text_of(hosts_of_environment(get).hosts),
            "LSF job 3 n1:2 n2:1 ");
}

}  // namespace
}  // namespace trireme::coordinator::cli
