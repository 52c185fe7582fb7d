#include <cmath>
#include <cstring>
#include <tuple>

#include <gtest/gtest.h>

#include "tests/jobs/protocol/random_message.h"

namespace trireme::jobs {
namespace {
constexpr std::size_t kTypes = std::variant_size_v<Message>;

ErrorKind kind_thrown_by(const std::string& bytes) {
  try {
    decode(bytes);
  } catch (const Error& error) {
    return error.kind();
  }
  ADD_FAILURE() << "accepted";
  return ErrorKind::kInternal;
}

TEST(Codec, RoundTripOfEveryMessage) {
  test::RandomMessages messages(1);
  for (int round = 0; round < 300; ++round)
    for (std::size_t type = 0; type < kTypes; ++type) {
      const Envelope sent = messages.envelope(type);
      const std::string bytes = encode(sent);
      const Envelope got = decode(bytes);
      EXPECT_EQ(got.run, sent.run);
      EXPECT_EQ(got.incarnation, sent.incarnation);
      EXPECT_EQ(got.message.index(), type);
      EXPECT_EQ(encode(got), bytes);
    }
}

TEST(Codec, MembersArriveAsSent) {
  test::RandomMessages messages(2);
  for (int round = 0; round < 300; ++round) {
    const Task sent = messages.task();
    const Task got = std::get<Assign>(decode(encode({1, {2}, Assign{sent}})).message).task;
    EXPECT_EQ(got.lease, sent.lease);
    EXPECT_EQ(got.kind, sent.kind);
    EXPECT_EQ(got.output, sent.output);  // any bytes
    EXPECT_EQ(got.members, sent.members);
    EXPECT_EQ(got.device, sent.device);
    EXPECT_EQ(std::tuple(got.first, got.count, got.part, got.parts),
              std::tuple(sent.first, sent.count, sent.part, sent.parts));
    EXPECT_EQ(got.checkpoint_every_seconds, sent.checkpoint_every_seconds);
    ASSERT_EQ(got.shard.has_value(), sent.shard.has_value());
    if (sent.shard) {
      EXPECT_EQ(got.shard->path, sent.shard->path);
      EXPECT_EQ(got.shard->bytes, sent.shard->bytes);
    }
    ASSERT_EQ(got.inputs.size(), sent.inputs.size());
    for (std::size_t i = 0; i < sent.inputs.size(); ++i) {
      EXPECT_EQ(got.inputs[i].role, sent.inputs[i].role);
      EXPECT_EQ(got.inputs[i].xxh3, sent.inputs[i].xxh3);
    }
    EXPECT_EQ(to_json(task_from_json(to_json(sent))), to_json(sent));
  }
}

TEST(Codec, ADivergedLossIsTold) {
  StepReport report;
  report.loss = std::nan("");
  EXPECT_TRUE(std::isnan(std::get<StepReport>(decode(encode({1, {1}, report})).message).loss));
}

TEST(Codec, EveryMutationIsRefusedAsDamaged) {
  test::RandomMessages messages(3);
  RandomStream random(4, RandomPurpose::kTest);
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = encode(messages.envelope(round % kTypes));
    switch (random.below(3)) {
      case 0:
        bytes[random.below(bytes.size())] ^= static_cast<char>(1 + random.below(255));
        break;
      case 1:
        bytes.resize(random.below(bytes.size()));
        break;
      default:
        bytes.insert(random.below(bytes.size() + 1), 1 + random.below(9), 'x');
    }
    EXPECT_EQ(kind_thrown_by(bytes), ErrorKind::kDamaged);
  }
}

TEST(Codec, AnotherVersionSaysWhatToDo) {
  std::string bytes = encode({1, {1}, Ping{}});
  bytes[4] = 9;
  try {
    decode(bytes);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("version 9"), std::string::npos);
  }
}

TEST(Codec, BodiesThatDoNotFitAreDamaged) {
  for (const char* text : {"", "[]", "{", "{\"data\":7}", "{\"data\":\"x\"}", "nul", "\xff"})
    EXPECT_THROW(shard_from_json(text), Error) << text;
  std::string deep(200000, '[');
  EXPECT_THROW(task_from_json(deep), Error);
  std::string text = to_json(ShardRef{});
  text.replace(text.find("\"bytes\":0"), 9, "\"bytes\":-1");
  EXPECT_THROW(shard_from_json(text), Error);
}

TEST(Codec, InputsLineIsOneOfTwo) {
  test::RandomMessages messages(5);
  for (int round = 0; round < 50; ++round) {
    InputsLine shard, input;
    shard.shard = messages.shard();
    input.input = messages.input();
    EXPECT_EQ(to_json(inputs_line_from_json(to_json(shard))), to_json(shard));
    EXPECT_EQ(to_json(inputs_line_from_json(to_json(input))), to_json(input));
    EXPECT_TRUE(inputs_line_from_json(to_json(shard)).shard.has_value());
  }
  EXPECT_THROW(to_json(InputsLine{}), Error);
  EXPECT_THROW(inputs_line_from_json("{}"), Error);
  EXPECT_THROW(inputs_line_from_json("{\"what\":{}}"), Error);
}

TEST(Codec, SummaryAndNames) {
  test::RandomMessages messages(6);
  const ShardSummary summary = messages.summary();
  EXPECT_EQ(summary_from_json(to_json(summary)).bad, summary.bad);
  for (int kind = 0; kind <= static_cast<int>(TaskKind::kIndex); ++kind)
    EXPECT_EQ(task_kind_from_name(name_of(static_cast<TaskKind>(kind))), static_cast<TaskKind>(kind));
  EXPECT_THROW(task_kind_from_name("training"), Error);
  EXPECT_NE(run_key("a"), run_key("b"));
}
}  // namespace
}  // namespace trireme::jobs
