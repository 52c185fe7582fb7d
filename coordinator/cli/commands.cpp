#include "coordinator/cli/commands.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <iostream>
#include <memory>

#include <unistd.h>

#include "common/base/error.h"
#include "common/base/log.h"
#include "common/base/nearest_name.h"
#include "common/io/folder.h"
#include "coordinator/cli/build_info.h"
#include "coordinator/cli/data_checks.h"
#include "coordinator/cli/doctor.h"
#include "coordinator/cli/evaluate/evaluate_command.h"
#include "coordinator/cli/explain.h"
#include "coordinator/cli/given.h"
#include "coordinator/cli/launch/host_report.h"
#include "coordinator/cli/launch/launch_command.h"
#include "coordinator/cli/launch/process.h"
#include "coordinator/cli/launch/requeue.h"
#include "coordinator/cli/plan/plan_command.h"
#include "coordinator/cli/recovery/audit_command.h"
#include "coordinator/cli/recovery/checkpoints_command.h"
#include "coordinator/cli/recovery/ledger_command.h"
#include "coordinator/cli/serve_command.h"
#include "coordinator/cli/sweep_command.h"
#include "jobs/protocol/version.h"
#include "jobs/specification/job_spec.h"

namespace trireme::coordinator::cli {
namespace {

LaunchOptions launch_options(const Given& given) {
  LaunchOptions options;
  options.job = given.file;
  options.overrides = given.overrides;
  options.workers = given.workers;
  options.run_folder = given.run_folder;
  options.listen = given.listen;
  options.mpirun = given.mpirun;
  options.mpirun_arguments = given.mpirun_arguments;
  options.data_roots = given.data_roots;
  options.output_roots = given.output_roots;
  options.out = &std::cout;
  options.is_terminal = ::isatty(STDOUT_FILENO) == 1;
  options.hosts = given.hosts;
  options.hostfile = given.hostfile;
  options.rsh_agent = given.rsh_agent;
  options.network = given.network;
  options.share_gpus = given.share_gpus;
  options.dry_run = given.dry_run;
  options.metrics_listen = given.metrics_listen;
  options.metrics_token = given.metrics_token;
  options.advertise = given.advertise;
  options.resume_from = given.resume_from;
  return options;
}

void add_requeue(CLI::App& command, Given& given) {
  command.add_flag("--requeue", given.requeue, "in a Slurm job: requeue it when it stops with a checkpoint");
}

// Where a run takes place.
void add_hosts(CLI::App& command, Given& given) {
  command.add_option("--hosts", given.hosts,
                     "hosts and their workers: a:8,b:8 (without a count: one per GPU)");
  command.add_option("--hostfile", given.hostfile, "the same as a file, one host per line: a slots=8");
  command.add_option("--rsh-agent", given.rsh_agent, "program that reaches a host, instead of ssh");
}

void add_launch(CLI::App& app, Given& given) {
  CLI::App& command = *app.add_subcommand(
      "launch",
      "run a job (or, without one, a standing coordinator) under mpirun, with restarts and progress");
  command.add_option("job", given.file, "job file; without it jobs come over HTTP");
  command
      .add_option("-n,--workers", given.workers,
                  "worker processes (default: the slots of the hosts, 1 on one host)")
      ->check(CLI::Range(1, 100000));
  add_hosts(command, given);
  command.add_option("--network", given.network, "networks or interfaces MPI may use: 10.0.0.0/8, ib0");
  command.add_flag("--share-gpus", given.share_gpus, "allow more workers than GPUs on a host");
  add_requeue(command, given);
  command.add_flag("--dry-run", given.dry_run, "look at the hosts and print the mpirun line");
  command.add_option("--metrics-listen", given.metrics_listen,
                     "address on which every process serves its metrics (default 127.0.0.1)");
  command.add_option("--metrics-token", given.metrics_token,
                     "file with a bearer token that a scrape must bring; every host must see it");
  command.add_option("--advertise", given.advertise,
                     "how discovery names a host: hostname (default), or a network whose address it has");
  add_sets(command, given);
  command.add_option("--run-dir", given.run_folder,
                     "run folder (default: the job's output, or runs/service)");
  command.add_option("--listen", given.listen, "address of the HTTP API (default 127.0.0.1 and a free port)");
  command
      .add_option("--data-root", given.data_roots, "folder that jobs sent over HTTP may read (repeatable)")
      ->allow_extra_args(false);
  command
      .add_option("--output-root", given.output_roots,
                  "folder that jobs sent over HTTP may write (repeatable)")
      ->allow_extra_args(false);
  command.add_option(
      "--resume-from", given.resume_from,
      "begin a new ledger whose run goes on from this checkpoint (ckpt/<stage>/step-…); what was "
      "there of a ledger is set aside");
  command.add_option("--mpirun", given.mpirun, "the mpirun to use")->capture_default_str();
  command
      .add_option("--mpirun-arg", given.mpirun_arguments,
                  "one argument handed to mpirun, for example --mpirun-arg=--hostfile (repeatable)")
      ->allow_extra_args(false);
  command.callback([&given] {
    given.command = [&given] { return requeue_if_asked(given.requeue, launch(launch_options(given))); };
  });
}

void add_sweep(CLI::App& app, Given& given) {
  CLI::App& command = *app.add_subcommand(
      "sweep", "run the jobs of a sweep file on one fleet and print one table (started again, it goes on)");
  command.add_option("sweep", given.file, "sweep file")->required();
  command.add_option("-n,--workers", given.workers, "worker processes (default: as launch)")
      ->check(CLI::Range(1, 100000));
  add_sets(command, given);
  command.add_option("--run-dir", given.run_folder, "folder of the sweep (default: its output)");
  add_hosts(command, given);
  add_requeue(command, given);
  command.add_flag("--retry-failed", given.retry_failed, "run failed runs once more");
  command.add_flag("--dry-run", given.dry_run, "check the file and list the runs");
  add_format(command, given);
  command.add_option("--mpirun", given.mpirun, "the mpirun to use")->capture_default_str();
  command.add_option("--mpirun-arg", given.mpirun_arguments, "one argument handed to mpirun (repeatable)")
      ->allow_extra_args(false);
  command.callback([&given] {
    given.command = [&given] {
      SweepOptions options;
      options.file = given.file;
      options.fleet = launch_options(given);
      options.fleet.job.clear();
      options.retry_failed = given.retry_failed;
      options.dry_run = given.dry_run;
      options.json = given.json();
      return requeue_if_asked(given.requeue, sweep_jobs(options));
    };
  });
}

void add_evaluate(CLI::App& app, Given& given) {
  CLI::App& command = *app.add_subcommand(
      "evaluate", "evaluate a model on benchmark sets and print one table (started again, it goes on)");
  command
      .add_option("model", given.model,
                  "an exported or downloaded folder or file, a run's output, or a step of its ckpt/")
      ->required();
  command.add_option("data", given.data, "sets as a job names them, a folder of wds_*, or SimLex-999.txt");
  command.add_option("--suite", given.suite, "name in jobs/suites, or a suite file; data is its root");
  command
      .add_option("--task", given.task,
                  "task of every set: auto, zero_shot, retrieval, multi_label, choice, word_similarity")
      ->capture_default_str();
  command.add_option("--also", given.also, "another model on the same sets, in one run (repeatable)")
      ->allow_extra_args(false);
  command
      .add_option("--against", given.against,
                  "other results to compare with: an output of evaluate, JSON or CSV of CLIP_benchmark "
                  "(repeatable)")
      ->allow_extra_args(false);
  command.add_option("--output", given.run_folder, "where the results go (default runs/evaluate-<model>)");
  add_sets(command, given);
  command.add_option("-n,--workers", given.workers, "worker processes (default: as launch)")
      ->check(CLI::Range(1, 100000));
  add_hosts(command, given);
  command.add_flag("--dry-run", given.dry_run, "write the job and print the mpirun line");
  command.add_option("--mpirun", given.mpirun, "the mpirun to use")->capture_default_str();
  command.add_option("--mpirun-arg", given.mpirun_arguments, "one argument handed to mpirun (repeatable)")
      ->allow_extra_args(false);
  command.callback([&given] {
    given.command = [&given] {
      EvaluateOptions options;
      options.model = given.model;
      options.suite = given.suite;
      options.task = given.task;
      options.data = given.data;
      options.against = given.against;
      options.also = given.also;
      options.output = given.run_folder;
      options.fleet = launch_options(given);
      options.fleet.run_folder.clear();
      return evaluate(options);
    };
  });
}

void add_local(CLI::App& app, Given& given) {
  CLI::App& plan =
      *app.add_subcommand("plan", "check a job file and print what it would do, without running it");
  plan.add_option("job", given.file, "job file")->required();
  add_sets(plan, given);
  add_format(plan, given);
  plan.callback([&given] {
    given.command = [&given] { return plan_job(given.file, given.overrides, given.json(), std::cout); };
  });

  CLI::App& doctor = *app.add_subcommand("doctor",
                                         "print versions, devices and settings, and what to do about what is "
                                         "missing; of a job or of data what a run "
                                         "would say of them");
  doctor.add_option("what", given.file, "a job file, or data as a job's source names them");
  add_sets(doctor, given);
  doctor.add_option("--mpirun", given.mpirun, "the mpirun to look at")->capture_default_str();
  add_hosts(doctor, given);
  add_format(doctor, given);
  doctor.callback([&given] {
    given.command = [&given] {
      DoctorOptions options;
      options.mpirun = given.mpirun;
      options.hosts = launch_options(given);
      return print_checks(
          given.file.empty() ? run_checks(options) : check_data_of(given.file, given.overrides), given.json(),
          std::cout);
    };
  });

  CLI::App& filter = *app.add_subcommand("filter", "tell what the filters of a run made of one sample");
  filter.add_option("run", given.run_folder, "output folder of the job")->required();
  filter.add_option("--explain", given.key, "key of the sample")->required();
  filter.add_option("--stage", given.state, "only this filter stage");
  add_format(filter, given);
  filter.callback([&given] {
    given.command = [&given] {
      return explain_sample(given.run_folder, given.key, given.state, given.json(), std::cout);
    };
  });

  CLI::App& report =
      *app.add_subcommand("host-report", "what this host says to one that launches a run")->group("");
  report.add_option("folder", given.run_folder)->required();
  report.add_option("token", given.key)->required();
  report.add_option("paths", given.data);
  report.callback([&given] {
    given.command = [&given] {
      return (std::cout << to_json(host_report(given.run_folder, given.key, given.data)) << "\n").bad();
    };
  });
}

// Words about this program, and what the worker's tools do.
void add_rest(CLI::App& app, Given& given) {
  app.add_subcommand("schema", "print the JSON Schema of job files")->callback([&given] {
    given.command = [] {
      std::cout << jobs::job_schema();
      return 0;
    };
  });
  app.add_subcommand("version", "print the version")->callback([&given] {
    given.command = [] {
      std::cout << "trireme " << version() << " (" << build_commit() << ")\n";
      return 0;
    };
  });
  app.add_subcommand(
      "search",
      "search an index: trireme search RUN \"words\" [--image FILE] (trireme-worker tool search --help)");
  app.add_subcommand("weights", "look into checkpoints: trireme weights inspect|convert|compare …");
  app.add_subcommand(
      "export",
      "a model for others: trireme export --to open_clip|hf|onnx MODEL FOLDER [--without-tokenizer]");
}

void add_serve(CLI::App& app, Given& given) {
  CLI::App& command =
      *app.add_subcommand("serve", "serve the indexes of runs: a page and an API for searches");
  const auto options = std::make_shared<serve::ServiceOptions>();
  options->threads = 0;
  command.add_option("run", options->runs, "output folders of jobs with an index stage");
  command.add_option("--spread", options->spread, "NAME=http://HOST:PORT,…: its parts are at other services")
      ->allow_extra_args(false);
  command.add_option("--spread-token", options->spread_token, "file of the token that those services want");
  command.add_option("--listen", options->listen,
                     "address (default 127.0.0.1 and a free port); off loopback a token is asked for");
  command
      .add_option("-n,--workers", options->workers, "processes that hold the models and answer (default 1)")
      ->check(CLI::Range(1, 1000));
  command.add_option("--threads", options->threads, "threads of each (default: the cores by the workers)")
      ->check(CLI::Range(1, 1024));
  command
      .add_option("--allow-host", options->allowed_hosts, "another name that it is called by (repeatable)")
      ->allow_extra_args(false);
  command.add_option("--state", options->state, "folder for the token (default: the first run)");
  command.add_flag("--require-token", options->require_token, "ask for the token on loopback, too");
  command.callback([&given, options] {
    if (options->runs.empty() && options->spread.empty()) throw CLI::RequiredError("run, or --spread");
    given.command = [options] { return cli::serve(*options, std::cout); };
  });
}

void add_recovery(CLI::App& app, Given& given) {
  CLI::App& ledger = *app.add_subcommand("ledger", "look after the ledger of a run that has stopped");
  ledger.require_subcommand(1);
  CLI::App& check = *ledger.add_subcommand("check", "say what of it is damaged and which backups verify");
  check.add_option("run", given.run_folder, "run folder")->required();
  add_format(check, given);
  check.callback([&given] {
    given.command = [&given] { return check_ledger_of(given.whole_run_folder(), given.json(), std::cout); };
  });
  CLI::App& restore =
      *ledger.add_subcommand("restore", "install what verifies and has come furthest; the rest is set aside");
  restore.add_option("run", given.run_folder, "run folder")->required();
  restore.add_flag("--afresh", given.afresh, "begin an empty ledger instead; checkpoints and results stay");
  restore.callback([&given] {
    given.command = [&given] { return restore_ledger(given.whole_run_folder(), given.afresh, std::cout); };
  });

  CLI::App& audit = *app.add_subcommand(
      "audit", "check what a run that has stopped left: ledger, outputs, checkpoints, every sample once");
  audit.add_option("run", given.run_folder, "run folder")->required();
  audit.add_option("--like", given.file, "output of another run: the same steps, losses and weights");
  add_format(audit, given);
  audit.callback([&given] {
    given.command = [&given] {
      return audit_command(given.whole_run_folder(), given.file, given.json(), std::cout);
    };
  });

  CLI::App& checkpoints =
      *app.add_subcommand("checkpoints", "list the training checkpoints of a job's output");
  checkpoints.add_option("run", given.file, "output folder of the job")->required();
  checkpoints.add_option(
      "--remove", given.removed,
      "remove these: <stage>/step-…, paths, or other-settings (all that the job of now would not "
      "go on from)");
  checkpoints.add_option("--run-dir", given.run_folder,
                         "run folder whose ledger names them (default: the output)");
  add_format(checkpoints, given);
  checkpoints.callback([&given] {
    given.command = [&given] {
      if (given.removed.empty()) return list_checkpoints(given.file, given.json(), std::cout);
      if (given.run_folder.empty()) given.run_folder = given.file;
      return remove_checkpoints(given.file, given.whole_run_folder(), given.removed, std::cout);
    };
  });
}

int parse_and_run(int argument_count, char** arguments) {
  CLI::App app("Trireme: noisy image-text pairs in, a trained, evaluated and searchable model out.",
               "trireme");
  app.require_subcommand(1);
  app.set_version_flag("--version", "trireme " + version());
  Given given;
  add_launch(app, given);
  add_sweep(app, given);
  add_evaluate(app, given);
  add_local(app, given);
  add_rest(app, given);
  add_serve(app, given);
  add_recovery(app, given);
  add_jobs(app, given);
  add_one_job(app, given);
  if (argument_count > 1 && arguments[1][0] != '-') {
    std::vector<std::string> known;
    for (const CLI::App* command : app.get_subcommands([](CLI::App*) { return true; }))
      known.push_back(command->get_name());
    if (std::find(known.begin(), known.end(), arguments[1]) == known.end()) {
      const std::string nearest = nearest_name(arguments[1], known);
      throw Error(ErrorKind::kUsage, "there is no command '" + std::string(arguments[1]) + "'",
                  nearest.empty() ? "see trireme --help" : "did you mean '" + nearest + "'?");
    }
  }
  try {
    app.parse(argument_count, arguments);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : exit_code(ErrorKind::kUsage);
  }
  return given.command ? given.command() : exit_code(ErrorKind::kUsage);
}

}  // namespace

int run_command_line(int argument_count, char** arguments) {
  try {
    if (argument_count > 1 && std::string(arguments[1]) == "search" &&
        asked_service({arguments + 2, arguments + argument_count}, std::cout))
      return 0;
    for (const char* tool : {"search", "weights", "export"})
      if (argument_count > 1 && std::string(arguments[1]) == tool)
        return become_worker_tool(argument_count, arguments);
    return parse_and_run(argument_count, arguments);
  } catch (const Error& error) {
    std::cerr << "trireme: " << error.what() << "\n";
    return exit_code(error.kind());
  } catch (const std::exception& error) {
    std::cerr << "trireme: internal error: " << error.what() << "\n";
    return exit_code(ErrorKind::kInternal);
  }
}

}  // namespace trireme::coordinator::cli
