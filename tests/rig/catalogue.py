#!/usr/bin/env python3
"""The catalogue of faults (RELIABILITY 7.2): what each has to end in, and the tests that make it. `catalogue.py` writes the table
of docs/reliability.md, section 7.2.

A test is "Suite.Case" of GoogleTest or "path::function" of pytest. What no test shows stands in `missing`, in so many words.
"""
import dataclasses
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/reliability.md"
BEGIN, END = "### 7.2 Catalogue\n", "\n### 7.3 "
RECOVERY, STOP, INPUT, SERVICE = (f"tests/system/test_{name}.py" for name in ("recovery", "stop", "bad_input", "service"))
PROCESSES, NETWORK, DISK, HTTP, QUARANTINE, MEMORY, GPU = (f"tests/rig/test_{name}.py" for name in ("processes", "network", "disk", "http", "quarantine", "memory", "devices"))


@dataclasses.dataclass
class Fault:
    number: str
    what: str
    criterion: str
    tests: list = dataclasses.field(default_factory=list)
    missing: str = ""


FAULTS = [
    Fault("F01", "kill -9 of a worker in a step", "next step < 3 s, same order, losses and weights", [f"{RECOVERY}::test_kill_9_costs_less_than_three_seconds_and_no_bit"],
          "a next step within 2 s is measured, not asked"),
    Fault("F02", "two workers at once, and one more during recovery", "as F01, at most one incarnation more", [f"{PROCESSES}::test_f02_two_at_once_and_one_during_recovery"]),
    Fault("F03", "each worker in turn, again and again", "same bits; no more files, segments and descriptors than before", [f"{PROCESSES}::test_f03_each_worker_in_turn"]),
    Fault("F04", "exit 0 too early, exit 3, SIGSEGV, SIGABRT", "the cause is told; as F01", [f"{PROCESSES}::test_f04_every_way_to_end_is_survived_and_told"]),
    Fault("F05", "a worker stands still for less than the dead limit", "no restart, same bits", [f"{PROCESSES}::test_f05_a_short_pause_is_no_death"]),
    Fault("F06", "a worker stands still for ever", "found at the dead limit, in every phase", ["FleetTest.SilenceMakesSuspectThenDead", "SupervisorTest.ARankThatStandsStillIsFoundInAnyPhase", "SupervisorTest.AProcessStoppedBeforeItsFirstPulseIsFound", f"{PROCESSES}::test_f06_a_frozen_rank_is_found_in_every_phase"],
          "a worker on another host that is stopped before its program has run (libraries load, a second) is found at the start limit"),
    Fault("F07", "a slow worker", "named; a stage is not held up by it", ["FleetTest.SpeedIsRelativeToTheFastestOnTheSameKind", "ServiceTest.ATaskThatTakesFarTooLongIsDoneByAnother", "ServiceTest.ATaskThatTwoHadInHandIsTriedOnceMore", f"{PROCESSES}::test_f07_a_slow_worker_holds_nothing_up"],
          "a slow member of a training's gang is named, and waited for"),
    Fault("F08", "a zombie that wakes up and writes late", "nothing of it counts", ["Actor.ForeignMessagesAreRefusedAndCounted", "Actor.SilenceFences", f"{PROCESSES}::test_f08_a_zombie_that_writes_late_changes_nothing"]),
    Fault("F09", "a worker never reports", "dead at the start limit", ["FleetTest.AWorkerThatNeverReportsIsDeadAtTheStartLimit"]),
    Fault("F10", "a worker is killed for its memory", "the cause is told; a sample in hand twice is quarantined", ["SupervisorTest.AKillForMemoryIsTold", "InHandTest.OthersAreNotBlamed", f"{MEMORY}::test_f10_a_picture_that_the_kernel_kills_for_is_quarantined", f"{MEMORY}::test_f10_too_little_memory_for_any_sample_ends_the_job_by_that_reason"],
          "on other hosts it is signal 9"),
    Fault("F11", "few descriptors", "a clean error that names the limit", [f"{PROCESSES}::test_f11_few_descriptors_end_in_an_error"]),
    Fault("F12", "kill -9 of the coordinator", "next step < 3 s, same bits", [f"{RECOVERY}::test_kill_9_costs_less_than_three_seconds_and_no_bit"]),
    Fault("F13", "kill at every fault point", "what was acknowledged is there", ["LedgerTest.KillAtEveryFaultPointLosesNothingAcknowledged", f"{PROCESSES}::test_f13_kill_at_every_point_of_the_run", "tests/rig/test_power.py"]),
    Fault("F14", "kill -9 of the supervisor", "ranks leave, the next one goes on", [f"{PROCESSES}::test_f14_ranks_leave_when_their_supervisor_is_gone"]),
    Fault("F15", "two supervisors on one run folder", "the second is refused and names the holder", ["SupervisorTest.SecondSupervisorIsRefusedAndNamesTheHolder"]),
    Fault("F16", "kill -9 of mpirun", "next step < 3 s, same bits", [f"{RECOVERY}::test_kill_9_costs_less_than_three_seconds_and_no_bit"]),
    Fault("F17", "kill -9 of a daemon on another host", "the run goes on, same bits", [f"{NETWORK}::test_f17_a_killed_daemon"]),
    Fault("F18", "SIGTERM to the supervisor", "checkpoint, stop, go on bitwise", [f"{STOP}::test_signals_to_the_supervisor"]),
    Fault("F19", "a second signal; one during a checkpoint", "no torn checkpoint; out within seconds", ["SupervisorTest.SecondSignalKillsAtOnce", f"{STOP}::test_a_stop_while_a_checkpoint_is_being_written"]),
    Fault("F20", "no progress, start after start", "FAILED, 93", ["SupervisorTest.ThreeStartsWithoutProgressGiveUp", f"{RECOVERY}::test_a_hopeless_job_stops_by_itself"]),
    Fault("F21", "a link down for 2 s", "at most one restart, same bits", [f"{NETWORK}::test_f21_a_link_down_for_two_seconds"]),
    Fault("F22", "a link down for good", "found in seconds; goes on without the host, with the largest divisor of the slots", ["SupervisorTest.WhatTheCoordinatorSaidCountsAlthoughMpirunHangs", "SupervisorTest.HostsAreAskedAgainUnlessAProcessWasKilledInPlace", f"{NETWORK}::test_f22_a_cut_host_is_left_out_and_comes_back"]),
    Fault("F23", "one way cut", "as F22", [f"{NETWORK}::test_f23_one_way_is_as_bad_as_both"]),
    Fault("F24", "loss, delay, duplicates", "finishes without a restart, same bits", [f"{NETWORK}::test_f24_loss_delay_and_duplicates"]),
    Fault("F25", "10 Mbit", "finishes, nobody is taken for dead", [f"{NETWORK}::test_f25_a_narrow_wire_is_no_death"]),
    Fault("F26", "messages twice, late, of another incarnation", "ignored and counted", ["Actor.ForeignMessagesAreRefusedAndCounted", f"{PROCESSES}::test_f26_messages_twice_and_of_another_incarnation"]),
    Fault("F27", "no space for a checkpoint", "training goes on; the next one is good", ["ServiceTest.AFullDiskPausesAndGoesOn", f"{DISK}::test_f27_a_full_disk_pauses_and_goes_on", f"{DISK}::test_f27_no_room_for_checkpoints_alone", f"{STOP}::test_a_full_disk_while_stopping_announces_nothing"]),
    Fault("F28", "no space for the ledger", "nothing acknowledged is lost, 507, goes on", ["DamageTest.AFullDiskRollsBackAndCanBeTriedAgain", f"{DISK}::test_f27_a_full_disk_pauses_and_goes_on"]),
    Fault("F29", "an I/O error of the ledger", "the coordinator leaves at once", ["DamageTest.AnInputOutputErrorEndsTheLedgerForThisProcess"]),
    Fault("F30", "a torn checkpoint", "the one before is used", ["ServiceTest.ADamagedCheckpointGivesWayToTheOneBefore", f"{RECOVERY}::test_a_torn_checkpoint_is_never_loaded"]),
    Fault("F31", "a flipped bit in a checkpoint", "named; the one before is used", [f"{RECOVERY}::test_a_torn_checkpoint_is_never_loaded"]),
    Fault("F32", "a checkpoint's file deleted, empty; no manifest", "the one before is used", ["ServiceTest.ADamagedCheckpointGivesWayToTheOneBefore"]),
    Fault("F33", "the ledger's log cut, deleted, foreign", "opens without the last, or refuses", ["DamageTest.LogCutAtEachByteOfTheLastTransaction", "DamageTest.FilesThatAreMissingEmptyForeignOrNotADatabase"]),
    Fault("F34", "flipped bits in the ledger", "refused by name, or nothing changed", ["DamageTest.BitFlipsInTheLogAreNeverSilent", "DamageTest.BitFlipsInTheMainFileAreNeverSilent", "DamageTest.EveryBitOfTheMark"]),
    Fault("F35", "an output that cannot be written", "refused when it is sent, with the field", [f"{DISK}::test_f35_an_output_that_cannot_be_written_is_refused_by_field"]),
    Fault("F36", "a slow disk", "heartbeats go on", [f"{PROCESSES}::test_f36_a_slow_ledger_is_no_death"]),
    Fault("F37", "a truncated tar", "good members count, the rest by reason", ["ShardTest.TruncatedTarsKeepTheirGoodMembers"]),
    Fault("F38", "pictures that hurt", "no crash; a reason each", ["BadImages.HaveTheirReasons", "BadImages.MutatedBytesNeverCrash", "BadImages.AMemoryBombIsRefusedOrCheap"]),
    Fault("F39", "a sample that kills its worker", "quarantined after two deaths, the run finishes",
          ["InHandTest.ACrashLeavesSignalTaskAndTheSampleOfItsThread", "ShardTest.QuarantinedSamplesAreBad", f"{QUARANTINE}::test_f39_a_sample_that_kills_its_workers_is_quarantined",
           f"{QUARANTINE}::test_f39_more_than_is_allowed_ends_the_job_by_name", f"{QUARANTINE}::test_f39_one_that_only_training_decodes", f"{QUARANTINE}::test_f39_one_that_kills_a_model_within_its_batch", "InHandTest.AModelHasAllOfABatchInHand"],
          "a crash within a training step's model blames nobody: the job ends after three starts without progress"),
    Fault("F40", "missing shards, empty tars, keys twice, no caption, bad text", "counted by reason, or refused", [f"{INPUT}::test_a_shard_without_samples_fails_loudly_unless_allowed"]),
    Fault("F41", "a shard changes between two looks", "never trained silently", ["ServiceTest.WhatWasMadeOfAnInputThatHasChangedIsMadeAgain", "ServiceTest.AShardThatChangesWhileItIsTrainedOnEndsTheJobByName"],
          "under a running job it is found when a training or the job ends, and the job fails; one that keeps its size and its time of change is not found"),
    Fault("F42", "too many bad samples", "FAILED with the reason", [f"{INPUT}::test_too_many_bad_samples_fail_the_job_with_the_reason"]),
    Fault("F43", "a loss that is not finite, once", "computed once more, then skipped and counted", ["TrainStage.StepsThatAreNotFiniteAreSkippedOrEndTheStage", f"{PROCESSES}::test_f43_a_loss_that_is_not_a_number_once"]),
    Fault("F44", "a loss that is never finite", "back to the checkpoint, then FAILED", ["TrainStage.RollsBackToTheCommittedCheckpoint"]),
    Fault("F45", "an infinite gradient on one rank", "all ranks skip", ["TrainingStep.NonFiniteInputsSkipTheStepOnEveryRank"]),
    Fault("F46", "a flipped bit in the weights of one rank", "the rank is named", ["Replicas.EveryBitThatFlipsNamesItsWorkerToAll", "Replicas.OfTwoItCannotBeTold", f"{PROCESSES}::test_f46_a_flipped_bit_names_its_worker"], "found within 100 steps; of two workers both are named"),
    Fault("F47", "resume at every step", "same bits", ["TrainStage.ResumesAtEveryStepWithTheSameBits"]),
    Fault("F48", "any number of workers", "same bits", [f"{RECOVERY}::test_any_worker_count_gives_the_same_bits", "SlotCounts.EveryNumberOfRanksGivesTheSameBits"]),
    Fault("F49", "more and fewer workers from one start to the next", "same bits", [f"{NETWORK}::test_f22_a_cut_host_is_left_out_and_comes_back"]),
    Fault("F50", "the same seed twice; another seed", "equal; different", ["TrainStage.WeightsDoNotDependOnTheNumberOfWorkers"]),
    Fault("F51", "the wall clock jumps", "no time-out fires", [f"{PROCESSES}::test_f51_a_clock_that_is_years_off_changes_nothing", f"{PROCESSES}::test_f51_a_clock_that_jumps_under_a_running_job"]),
    Fault("F52", "2^32 ms of uptime", "no overflow", ["FleetUptimeTest.VerdictsDoNotDependOnTheUptime"]),
    Fault("F53", "one submit twice, fifty in parallel", "one job", ["ServerTest.IdempotencyKeyMakesOneJob"]),
    Fault("F54", "the same key with another body", "422", ["ServerTest.IdempotencyKeyMakesOneJob"]),
    Fault("F55", "the answer is lost", "one job", [f"{HTTP}::test_f55_a_lost_answer_is_one_job"]),
    Fault("F56", "malformed JSON", "400 or 422; no crash; linear", ["Json.RefusesWhatJsonIsNot", "ReadJob.RandomDamageNeverCrashes", "Length.TwiceTheTextTakesTwiceTheTime"]),
    Fault("F57", "slow clients", "cut; others are answered", ["ServerTest.SlowClientsAreCutAndNeverLockOthersOut"]),
    Fault("F58", "endless headers, huge bodies, pipelining", "cut at the limits", ["ServerTest.OversizedHeadersAndBodiesAreCut", "ServerTest.ChunkedBodiesOfOneByteAndPipelining"]),
    Fault("F59", "no token, a wrong one, every method", "401 or 405", ["ServerTest.EveryRouteAndMethodIsGuarded"]),
    Fault("F60", "what a web page could send", "403 or 415", ["ServerTest.BrowsersAndForeignHostsAreRefused"]),
    Fault("F61", "paths out of the roots, when sent and when opened", "refused; nothing outside is opened", ["Roots.NothingOutsideIsAccepted", "Roots.NobodyWritesIntoTheRunFolder", "DoorTest.ReadsBeneathTheRootsAlone",
          "DoorTest.WritesBeneathTheWritableRootsAlone", "DoorTest.NothingSwappedLeadsOut", f"{HTTP}::test_f61_jobs_over_http_stay_within_their_roots"]),
    Fault("F62", "cancel in any state", "terminal is terminal", ["JobStateTest.TerminalIsTerminalAndOnlyStoppingEnds", f"{SERVICE}::test_cancel_is_quick_and_idempotent_and_the_next_job_runs"]),
    Fault("F63", "thousands of queued jobs, a million events", "429; a page of them < 50 ms, replay < 2 s", ["ServiceTest.TheQueueHasAnEnd", f"{HTTP}::test_f63_the_queue_has_an_end", "LedgerTest.AMillionEventsAreReplayedInTwoSeconds"]),
    Fault("F64", "/metrics while everything fails", "valid", ["tests/system/test_monitoring.py"]),
    Fault("F65", "dashboards and alerts", "every panel has data, every alert fires", ["tests/system/test_monitoring.py"]),
    Fault("F66", "ledger and checkpoint of the version before", "loads, or refuses clearly", ["UpgradeTest.AnOlderLedgerGoesOnWithAllItsRows", "UpgradeTest.KilledInTheMiddleItHasChangedNothing", "DamageTest.ALedgerOfAnotherVersionIsNamedAndLeftAlone", "tests/system/test_adopted.py"], "of checkpoints there is one version so far"),
    Fault("F67", "kill -9 of a rank within an NCCL collective", "others leave", [f"{GPU}::test_f67_a_rank_killed_within_an_nccl_collective"], "needs two GPUs: written, never run"),
    Fault("F68", "stall of an asynchronous checkpoint", "a copy to the host and little more", [f"{GPU}::test_f68_an_asynchronous_checkpoint_stalls_for_a_copy"], "needs a GPU: written, never run"),
    Fault("F69", "the same restart twice on a GPU", "equal, or documented", [f"{GPU}::test_f69_the_same_restart_twice_gives_the_same"], "needs a GPU: written, never run"),
]


def exists(test):
    path, _, function = test.partition("::")
    if path.endswith(".py"):
        return (ROOT / path).is_file() and (not function or f"def {function}(" in (ROOT / path).read_text())
    return test in cases()


def cases():
    if not hasattr(cases, "found"):
        cases.found = set()
        for source in (ROOT / "tests").rglob("*_test.cpp"):
            for suite, case in re.findall(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)", source.read_text(), re.M):
                cases.found.add(f"{suite}.{case}")
    return cases.found


def table():
    shown = sum(1 for fault in FAULTS if fault.tests)
    lines = ["", f"Made by `tests/rig/catalogue.py`; {shown} of {len(FAULTS)} have a test. The last column says what no test shows.", "",
             "| | fault | has to end in | proven by | not shown |", "|---|---|---|---|---|"]
    for fault in FAULTS:
        tests = ", ".join(f"`{test}`" for test in fault.tests)
        lines.append(f"| {fault.number} | {fault.what} | {fault.criterion} | {tests} | {fault.missing} |")
    return "\n".join(lines) + "\n"


def page():
    """The page as it has to be."""
    text = PAGE.read_text()
    head, rest = text.split(BEGIN, 1)
    return head + BEGIN + table() + END + rest.split(END, 1)[1]


if __name__ == "__main__":
    PAGE.write_text(page())
