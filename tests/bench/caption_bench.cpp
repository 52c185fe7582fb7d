// The caption pass of a captioner of BLIP base's shape with random weights: image encoder, then decoding of
// 20 tokens that nothing ends.
//
//   cmake -S . -B build/bench -G Ninja -DTRIREME_BENCH=ON && ninja -C build/bench caption_bench
//   build/bench/bin/caption_bench [batch 16] [rounds 2] [threads 2] [methods beam,greedy]
// Peer, in the same session and turn by turn:
//   python tests/bench/caption_peer.py [batch 16] [rounds 2] [threads 2] [methods beam,greedy]
//
// Prints a line of JSON per method: least seconds of the encoder, of decoding and of both, and processor
// time, which with one thread also tells on a machine that others use.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#include "worker/models/captioner/captioner.h"

namespace {

using namespace trireme::worker;
using Clock = std::chrono::steady_clock;

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

double cpu_seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

trireme::jobs::ModelSpec blip_base() {
  trireme::jobs::ModelSpec spec;
  spec.image.image_px = 384;
  spec.image.patch_px = 16;
  spec.image.ln_pre = false;
  spec.image.patch_bias = true;
  spec.text.kind = trireme::jobs::TextTowerKind::kDecoder;
  spec.text.width = 768;
  spec.text.heads = 12;
  spec.text.extra_tokens = 2;
  spec.text.tokenizer.kind = trireme::jobs::TokenizerKind::kWordPiece;
  spec.text.tokenizer.vocabulary = "pretrained:minilm";
  return spec;
}

void measure(const models::DualEncoder& model, const std::string& method, std::int64_t batch, int rounds) {
  const models::Captioner captioner(model);
  const auto start = captioner.start("a picture of ");
  models::DecodingOptions options;
  options.method = *trireme::from_name<models::DecodingMethod>(method);
  options.max_length = static_cast<std::int64_t>(start.size()) + 20;
  options.rules.min_length = options.max_length;  // the end mark never comes
  options.rules.end_id = captioner.end_id();
  const at::Tensor images = at::randn({batch, 3, 384, 384});
  double encode = 1e9, decode = 1e9, encode_cpu = 1e9, decode_cpu = 1e9;
  std::size_t tokens = 0;
  for (int round = 0; round < rounds; ++round) {
    const auto begin = Clock::now();
    const double work = cpu_seconds();
    const at::Tensor looked_at = model.image_tokens(images);
    encode = std::min(encode, since(begin));
    encode_cpu = std::min(encode_cpu, cpu_seconds() - work);
    const auto decoding = Clock::now();
    const double decoding_work = cpu_seconds();
    const auto written = models::write_captions(captioner.decoder(), looked_at, start, options, {});
    decode = std::min(decode, since(decoding));
    decode_cpu = std::min(decode_cpu, cpu_seconds() - decoding_work);
    tokens = written.front().ids.size();
  }
  std::printf(
      "{\"method\": \"%s\", \"batch\": %lld, \"tokens\": %zu, \"encode_seconds\": %.3f, \"decode_seconds\": "
      "%.3f, "
      "\"pass_seconds\": %.3f, \"encode_cpu_seconds\": %.3f, \"decode_cpu_seconds\": %.3f}\n",
      method.c_str(), static_cast<long long>(batch), tokens, encode, decode, encode + decode, encode_cpu,
      decode_cpu);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  const auto argument = [&](int index, int otherwise) {
    return argc > index ? std::atoi(argv[index]) : otherwise;
  };
  at::set_num_threads(argument(3, 2));
  const at::NoGradGuard no_grad;
  const models::DualEncoder model(blip_base(), 1);
  const std::string methods = argc > 4 ? argv[4] : "beam,greedy";
  for (const char* method : {"beam", "greedy"})
    if (methods.find(method) != std::string::npos) measure(model, method, argument(1, 16), argument(2, 2));
  _exit(0);  // no need to wait for gigabytes to be given back
}
