// The commands that talk to a coordinator, and options that several commands have.
#include <CLI/CLI.hpp>

#include "coordinator/cli/given.h"

namespace trireme::coordinator::cli {

void add_format(CLI::App& command, Given& given) {
  command.add_option("-o,--output", given.output_format, "text for people, json for scripts")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

void add_sets(CLI::App& command, Given& given) {
  command
      .add_option("--set", given.overrides,
                  "replace a value, for example --set spec.data.train=PATH (repeatable)")
      ->allow_extra_args(false);
}

namespace {

// A command that talks to a coordinator.
CLI::App& client_command(CLI::App& app, Given& given, const std::string& name, const std::string& help) {
  CLI::App& command = *app.add_subcommand(name, help);
  command.add_option("--run", given.run, "run folder of the coordinator ($TRIREME_RUN)")
      ->envname("TRIREME_RUN")
      ->capture_default_str();
  add_format(command, given);
  return command;
}

}  // namespace

void add_jobs(CLI::App& app, Given& given) {
  CLI::App& submit = client_command(app, given, "submit", "send a job to a standing coordinator");
  submit.add_option("job", given.file, "job file")->required();
  add_sets(submit, given);
  submit.add_option("--key", given.key,
                    "Idempotency-Key: the same key and job is one job, however often it is sent");
  submit.add_flag("--wait", given.wait, "watch it, and exit with its outcome");
  submit.callback([&given] {
    given.command = [&given] {
      return submit_job(given.client(), given.file, given.overrides, given.key, given.wait);
    };
  });
  CLI::App& list = client_command(app, given, "list", "list jobs");
  list.add_option("--state", given.state, "only jobs in this state");
  list.add_option("--limit", given.limit, "at most so many")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  list.callback(
      [&given] { given.command = [&given] { return list_jobs(given.client(), given.state, given.limit); }; });
}

void add_one_job(CLI::App& app, Given& given) {
  const auto with_job = [&](const char* name, const char* help, std::function<int()> run) -> CLI::App& {
    CLI::App& command = client_command(app, given, name, help);
    command.add_option("job", given.job, "job id")->required();
    command.callback([&given, run] { given.command = run; });
    return command;
  };
  with_job("describe", "show one job", [&given] { return describe_job(given.client(), given.job); });
  with_job("watch", "follow a job until it ends; exits with its outcome",
           [&given] { return watch_job(given.client(), given.job); });
  with_job("cancel", "cancel a job; it writes a checkpoint first",
           [&given] { return cancel_job(given.client(), given.job); });
  CLI::App& events = with_job("events", "show what happened to a job", [&given] {
    return show_events(given.client(), given.job, given.after, given.limit);
  });
  events.add_option("--after", given.after, "only events after this sequence number");
  events.add_option("--limit", given.limit, "at most so many")->capture_default_str();
  CLI::App& report =
      with_job("report", "write report.html anew and print where it lies (JOB: id or output folder)",
               [&given] { return make_report(given.client(), given.job, given.file); });
  report.add_option("--file", given.file, "save the page here");
  CLI::App& logs = client_command(app, given, "logs",
                                  "print the logs of the ranks (JOB: id, run folder, or nothing for --run)");
  logs.add_option("job", given.job, "job id or run folder");
  logs.add_flag("-f,--follow", given.follow, "go on until the job ends");
  logs.add_option("--rank", given.rank, "one rank only: 0 is the coordinator")->check(CLI::Range(0, 1000000));
  logs.add_option("--tail", given.tail, "only the last lines of each rank")->check(CLI::Range(0, 1000000));
  logs.callback([&given] {
    given.command = [&given] {
      return show_logs(given.client(), given.job, given.follow, given.rank, given.tail);
    };
  });
}

}  // namespace trireme::coordinator::cli
