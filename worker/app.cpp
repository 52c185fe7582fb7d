#include "worker/app.h"

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <unistd.h>

#include <ATen/ATen.h>
#include <c10/util/Exception.h>

#include "common/base/fault_point.h"
#include "common/base/host_name.h"
#include "common/base/log.h"
#include "common/io/file.h"
#include "common/io/folder.h"
#include "common/io/machine/in_hand.h"
#include "common/io/pulse.h"
#include "common/mailbox/mpi/launcher.h"
#include "common/mailbox/mpi/world.h"
#include "common/telemetry/metrics.h"
#include "common/telemetry/place.h"
#include "jobs/protocol/hello_device.h"
#include "jobs/protocol/version.h"
#include "jobs/store/metrics_token.h"
#include "worker/collective/cuda_plugin.h"
#include "worker/collective/gang_group.h"
#include "worker/collective/gang_start.h"
#include "worker/collective/mpi/mpi_group.h"
#include "worker/collective/nccl_log.h"
#include "worker/exchange/export_model.h"
#include "worker/exchange/model_info_tool.h"
#include "worker/exchange/weights_tool.h"
#include "worker/kernels/pair_tile/pair_tile.h"
#include "worker/runtime/actor.h"
#include "worker/runtime/affinity.h"
#include "worker/runtime/device/device.h"
#include "worker/runtime/device/device_parts.h"
#include "worker/stages/adopt/adopt_stage.h"
#include "worker/stages/caption/caption_stage.h"
#include "worker/stages/concept_vocabulary/concept_vocabulary_stage.h"
#include "worker/stages/concepts/concepts_stage.h"
#include "worker/stages/duplicates/duplicates_stage.h"
#include "worker/stages/embed/embed_stage.h"
#include "worker/stages/evaluate/evaluate_stage.h"
#include "worker/stages/evaluate/probe_stage.h"
#include "worker/stages/export/export_stage.h"
#include "worker/stages/filter/cuts_stage.h"
#include "worker/stages/filter/filter_stage.h"
#include "worker/stages/filter/measure_stage.h"
#include "worker/stages/index/index_stage.h"
#include "worker/stages/index/search_tool.h"
#include "worker/stages/index/segment_stage.h"
#include "worker/stages/index/serve_tool.h"
#include "worker/stages/inspect/inspect_stage.h"
#include "worker/stages/inspect/look_tool.h"
#include "worker/stages/near_duplicates/near_duplicates_stage.h"
#include "worker/stages/ngram_counts/ngram_counts_stage.h"
#include "worker/stages/pair_counts/pair_counts_stage.h"
#include "worker/stages/pair_scores/pair_scores_stage.h"
#include "worker/stages/synthesize/synthesize_stage.h"
#include "worker/stages/train/train_stage.h"
#include "worker/stages/vocabulary/vocabulary_stage.h"

namespace trireme::worker {
namespace {

std::string environment(const char* name, const char* otherwise = "") {
  const char* value = std::getenv(name);
  return value != nullptr && *value != 0 ? value : otherwise;
}

template <class... Kinds>
runtime::Stages stages_of() {
  runtime::Stages stages;
  ((stages[Kinds::kKind] = std::make_unique<Kinds>()), ...);
  return stages;
}

runtime::Stages all_stages() {
  using namespace stages;
  return stages_of<
      synthesize::SynthesizeStage, inspect::InspectStage, filter::FilterStage, vocabulary::VocabularyMapStage,
      vocabulary::VocabularyMergeStage, vocabulary::VocabularyTrainStage, pair_counts::PairCountsMapStage,
      pair_counts::PairCountsMergeStage, filter::MeasureStage, filter::CutsStage,
      ngram_counts::NgramsMapStage, ngram_counts::NgramsMergeStage, duplicates::DuplicatesMapStage,
      duplicates::DuplicatesMergeStage, near_duplicates::SignaturesStage, near_duplicates::NearListsStage,
      near_duplicates::NearPairsStage, near_duplicates::NearClustersStage, pair_scores::PairScoresStage,
      export_shards::ExportStage, caption::CaptionStage, concept_vocabulary::ConceptWordsMapStage,
      concept_vocabulary::ConceptWordsMergeStage, concept_vocabulary::ConceptVocabularyStage,
      concepts::ConceptTeacherStage, concepts::ConceptsStage, embed::EmbedStage, train::TrainStage,
      evaluate::EvaluateStage, evaluate::ProbeStage, index::SegmentStage, index::IndexStage,
      adopt::AdoptStage>();
}

struct Arguments {
  std::string metrics_listen, advertise;  // common/telemetry/place.h
  std::string metrics_token;              // file
  bool share_gpus = false;
};

jobs::Hello hello(const runtime::CoreShare& cores, const runtime::DeviceChoice& device, int metrics_port,
                  const std::string& metrics_host) {
  std::string computes_on = device.device + (device.name.empty() ? "" : " " + device.name);
  if (!device.fallback.empty()) computes_on = jobs::cpu_beside_gpu(device.why);
  return {host_name(), ::getpid(), cores.threads, computes_on, version(), metrics_port, metrics_host};
}

void check_place(const MpiWorld& world) {
  if (world.size() < 2 || world.rank() == 0)
    throw Error(
        ErrorKind::kUsage,
        "trireme-worker is rank " + std::to_string(world.rank()) + " of " + std::to_string(world.size()) +
            "; rank 0 must be the coordinator",
        "start `trireme launch -n W job.json`, or `mpirun -n 1 trireme-coordinator --job job.json : -n W "
        "trireme-worker`");
}

// Beside this program, or in lib/trireme of an installed one.
std::string plugin_folder() {
  const auto folder = io::own_program().parent_path();
  const auto installed = folder.parent_path() / "lib" / "trireme";
  return io::is_folder(installed) ? installed : folder;
}

// Where TRIREME_CUDA_PLUGIN says, else beside us. A GPU without it computes, and talks through the host.
std::optional<collective::CudaPlugin> open_plugin(const runtime::DeviceChoice& device,
                                                  telemetry::Metrics& metrics) {
  std::optional<collective::CudaPlugin> opened;
  runtime::DeviceParts parts;
  if (device.device != "cpu") {
    try {
      opened.emplace(environment("TRIREME_CUDA_PLUGIN", plugin_folder().c_str()));  // registers its kernels
    } catch (const Error& error) {
      parts.no_plugin = error.what();
    }
    parts.kernels = kernels::pair_tile_path(at::Device(device.device)) != kernels::PairTilePath::kComposed;
  }
  runtime::tell_what_is_missing(device, parts, metrics);
  return opened;
}

// NCCL's own words on its network are in a file beside our log.
void tell_network(const collective::Group& group) {
  const std::string log = environment("NCCL_DEBUG_FILE");
  if (!group.sums_natively() || log.empty() || !io::exists(log)) return;
  const std::string network = collective::network_of(io::read_file(log, std::uint64_t{64} << 20));
  if (!network.empty()) log_info("collective", "NCCL's network: " + network);
}

// Unless somebody asked NCCL for other words.
void ask_nccl_for_its_network(const std::string& log_folder, Rank rank) {
  if (log_folder.empty() || !environment("NCCL_DEBUG").empty()) return;
  const std::string file = (io::Path(log_folder) / ("nccl-rank-" + std::to_string(rank) + ".log")).string();
  ::setenv("NCCL_DEBUG", "INFO", 0);
  ::setenv("NCCL_DEBUG_SUBSYS", "INIT,NET", 0);
  ::setenv("NCCL_DEBUG_FILE", file.c_str(), 0);
}

std::unique_ptr<collective::Group> gang(const MpiWorld& world, const jobs::Task& task,
                                        const std::string& device, const std::string& device_name,
                                        const std::optional<collective::CudaPlugin>& plugin,
                                        const collective::GroupOptions& options) {
  auto group = collective::make_mpi_group(world.gangs(), task.members, task.lease.value, options);
  collective::NcclFactory nccl;
  if (plugin.has_value())
    nccl = {[&plugin] { return plugin->nccl_unique_id(); },
            [&](const std::string& id, int rank, int size, int gpu) {
              return plugin->nccl_calls(id, rank, size, gpu);
            }};
  const std::string mixed = collective::mixed_kinds(*group, device == "cpu" ? "cpu" : device_name);
  if (!mixed.empty()) log_warning("collective", mixed);
  std::string chosen;
  group = collective::make_gang_group(std::move(group), device, host_name(), nccl, options, chosen);
  log_info("collective", chosen);
  collective::try_group(*group, device);
  tell_network(*group);
  return group;
}

// Until Leave. Whether the device was lost meanwhile.
bool serve(MpiWorld& world, Incarnation incarnation, const Arguments& given,
           std::unique_ptr<io::Pulse> pulse) {
  const runtime::DeviceChoice device =
      runtime::choose_device({world.position_on_host(), world.workers_on_host(), given.share_gpus},
                             runtime::device_policy_of_environment());
  log_info("device", device.device + ": " + device.why);
  ask_nccl_for_its_network(environment("TRIREME_LOG_DIR"), world.rank());
  const runtime::CoreShare cores =
      runtime::settle_on_cores(world.workers_on_host(), world.position_on_host(), device.device);
  const RealClock clock;
  const auto place =
      telemetry::metrics_place(given.metrics_listen, given.advertise, world.position_on_host() + 1);
  telemetry::Metrics metrics(place.address, place.port, {{"rank", std::to_string(world.rank())}},
                             store::read_metrics_token(given.metrics_token));
  metrics.set("trireme_build_info", 1, {{"version", version()}});
  const auto plugin = open_plugin(device, metrics);
  const auto mailbox = world.mailbox();
  const std::string run_id = environment("TRIREME_RUN_ID");
  runtime::Control control({.clock = &clock,
                            .mailbox = mailbox.get(),
                            .metrics = &metrics,
                            .hello = hello(cores, device, metrics.port(), place.advertised),
                            .run = run_id.empty() ? 0 : jobs::run_key(run_id),
                            .incarnation = incarnation,
                            .fence =
                                [] {
                                  log_error("watchdog", "the coordinator is silent; this worker ends itself");
                                  ::_exit(75);
                                },
                            .welcomed = [&pulse] { pulse.reset(); }});
  const auto in_hand = io::InHand::of_rank(world.rank(), incarnation.value);
  runtime::ActorOptions options;
  options.clock = &clock;
  options.in_hand = in_hand.get();
  options.metrics = &metrics;
  options.threads = cores.threads;
  options.device = device.device;
  options.why_device = device.why;
  options.make_group = [&](const jobs::Task& task, const std::string& on, std::function<bool()> stopped) {
    collective::GroupOptions group;
    group.stopped = std::move(stopped);
    return gang(world, task, on, device.name, plugin, group);
  };
  return !runtime::run_actor(control, all_stages(), options).empty();
}

// Whoever ends the run asks every rank at once (mpirun on SIGTERM, a terminal that closes): the coordinator
// decides what that means, and a worker whose coordinator has gone silent ends itself.
void leave_signals_to_the_coordinator() {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) std::signal(signal, SIG_IGN);
}

// What `trireme launch` hands to every rank.
Arguments arguments_of(int argc, char** argv) {
  Arguments given;
  std::vector<std::string> words(argv + 1, argv + argc);
  given.share_gpus = std::erase(words, "--share-gpus") > 0;
  const std::map<std::string, std::string*> values = {{"--metrics-listen", &given.metrics_listen},
                                                      {"--metrics-token", &given.metrics_token},
                                                      {"--advertise", &given.advertise}};
  for (std::size_t i = 0; i < words.size(); i += 2) {
    const auto value = values.find(words[i]);
    if (value == values.end() || i + 1 == words.size())
      throw Error(ErrorKind::kUsage, "unknown argument '" + words[i] + "', or one without its value",
                  "`trireme-worker [--metrics-listen ADDRESS] [--metrics-token FILE] [--advertise NAME] "
                  "[--share-gpus]` under mpirun, or `trireme-worker tool search|device|version …`");
    *value->second = words[i + 1];
  }
  return given;
}

// A worker that fails leaves by _exit: MPI_Finalize would wait for the others.
int run_rank(const Arguments& given) {
  bool device_lost = false;
  leave_signals_to_the_coordinator();
  refuse_lonely_start();
  auto pulse = io::Pulse::of_rank(environment("OMPI_COMM_WORLD_RANK", "unknown"), "joining");
  MpiWorld world;
  start_log("worker/" + std::to_string(world.rank()));
  try {
    if (const std::string folder = environment("TRIREME_LOG_DIR"); !folder.empty())
      redirect_log_to_folder(folder, world.rank());
    check_place(world);
    const auto incarnation = std::strtoull(environment("TRIREME_INCARNATION", "0").c_str(), nullptr, 10);
    arm_fault_points(world.rank(), incarnation == 0 ? 1 : incarnation);
    device_lost = serve(world, Incarnation{incarnation}, given, std::move(pulse));
  } catch (const Error& error) {
    log_error("worker", error.what());
    ::_exit(exit_code(error.kind()));
  } catch (const std::exception& error) {
    log_error("worker", std::string("unexpected: ") + error.what());
    ::_exit(exit_code(ErrorKind::kInternal));
  }
  world.finalize();
  if (device_lost) ::_exit(0);  // destructors would talk to it
  return 0;
}

// Whether gangs may use NCCL and the loss has kernels, on a GPU.
std::string plugin_report(const runtime::DeviceChoice& device) {
  if (device.device == "cpu") return "";
  telemetry::Metrics nobody("", 0);
  const bool plugin = open_plugin(device, nobody).has_value();
  const bool kernels = kernels::pair_tile_path(at::Device(device.device)) == kernels::PairTilePath::kCuda;
  return std::string("plug-in: ") + (plugin ? "NCCL" : "none, gangs talk through the host") +
         (kernels ? ", CUDA kernels of the loss\n"
                  : ", the loss out of torch's operations (no nvcc at the build)\n");
}

int show_device(int, char**) {
  const auto choice = runtime::choose_device({.share_gpus = true}, runtime::device_policy_of_environment());
  std::cout << runtime::device_report(choice) << plugin_report(choice);
  return 0;
}

int show_version(int, char**) {
  std::cout << "trireme-worker " << version() << "\n";
  return 0;
}

int look(int argc, char** argv) {
  return stages::inspect::look({argv + 1, argv + argc}, std::cout);
}

int run_tool(int argc, char** argv) {
  static constexpr std::pair<std::string_view, int (*)(int, char**)> kTools[] = {
      {"search", &stages::index::run_search},
      {"search-worker", &stages::index::run_search_worker},
      {"weights", &exchange::run_weights},
      {"export", &exchange::run_export},
      {"model-info", &exchange::run_model_info},
      {"look", &look},
      {"device", &show_device},
      {"version", &show_version}};
  const std::string name = argc > 0 ? argv[0] : "";
  std::string names;
  for (const auto& [tool, run] : kTools) {
    if (tool == name) return run(argc, argv);
    names += (names.empty() ? "" : ", ") + std::string(tool);
  }
  throw Error(ErrorKind::kUsage, "unknown tool '" + name + "'", "the tools are " + names);
}
}  // namespace

int run(int argc, char** argv) {
  try {
    if (argc > 1 && std::string(argv[1]) == "tool") return run_tool(argc - 2, argv + 2);
    if (argc == 2 && std::string(argv[1]) == "--version") {
      char name[] = "version", *tool[] = {name};
      return run_tool(1, tool);
    }
    return run_rank(arguments_of(argc, argv));
  } catch (const Error& error) {
    std::cerr << "trireme-worker: " << error.what() << "\n";
    return exit_code(error.kind());
  } catch (const c10::Error& error) {
    std::cerr << "trireme-worker: torch says: " << error.what_without_backtrace() << "\n";
    return exit_code(ErrorKind::kInternal);
  } catch (const std::exception& error) {
    std::cerr << "trireme-worker: " << error.what() << "\n";
    return exit_code(ErrorKind::kInternal);
  }
}

}  // namespace trireme::worker
