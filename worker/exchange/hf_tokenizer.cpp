#include "worker/exchange/hf_tokenizer.h"

#include <algorithm>
#include <vector>

#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "worker/text/tokenizers/vocabulary_file.h"
#include "worker/text/unicode.h"

namespace trireme::worker::exchange {
namespace {

using nlohmann::ordered_json;
constexpr std::size_t kMerges = 48894;  // of the file, those that count

void need_kind(const models::DualEncoder& model, jobs::TokenizerKind kind) {
  const jobs::TokenizerKind found = model.spec().text.tokenizer.kind;
  if (found != kind)
    throw Error(ErrorKind::kInvalid,
                "text.tokenizer.kind " + std::string(name_of(found)) + " has no equal in transformers here",
                "the model needs " + std::string(name_of(kind)) + "; --without-tokenizer writes the rest");
}

// GPT-2's letters for bytes in the order of their token ids: those that are visible, then the other 68.
std::vector<std::string> byte_letters() {
  std::vector<std::string> letters;
  const auto visible = [](int byte) {
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
  };
  const auto add = [&](std::int32_t code_point) {
    letters.emplace_back();
    text::append_code_point(letters.back(), code_point);
  };
  for (int byte = 0; byte < 256; ++byte)
    if (visible(byte)) add(byte);
  std::int32_t next = 256;
  for (int byte = 0; byte < 256; ++byte)
    if (!visible(byte)) add(next++);
  return letters;
}

}  // namespace

void write_clip_tokenizer(const models::DualEncoder& model, const io::Path& folder) {
  need_kind(model, jobs::TokenizerKind::kClipBpe);
  const auto lines = text::read_vocabulary_lines(model.vocabulary_path());
  ordered_json vocabulary = ordered_json::object();
  std::int64_t id = 0;
  // An ordered object is a list: insertion without the search for an older key.
  auto& entries = vocabulary.get_ref<ordered_json::object_t&>();
  const auto add = [&](std::string piece) { entries.emplace_back(std::move(piece), id++); };
  for (const char* tail : {"", "</w>"})
    for (const std::string& letter : byte_letters()) add(letter + tail);
  std::string merges = "#version: 0.2\n";
  for (std::size_t i = 1; i <= kMerges && i < lines.size(); ++i) {
    std::string piece = lines[i];
    piece.erase(std::remove(piece.begin(), piece.end(), ' '), piece.end());
    add(piece);
    merges += lines[i] + "\n";
  }
  add("<|startoftext|>");
  add("<|endoftext|>");
  io::write_file_atomic(folder / "vocab.json", vocabulary.dump());
  io::write_file_atomic(folder / "merges.txt", merges);
  const ordered_json config{{"tokenizer_class", "CLIPTokenizer"},
                            {"do_lower_case", true},
                            {"bos_token", "<|startoftext|>"},
                            {"eos_token", "<|endoftext|>"},
                            {"unk_token", "<|endoftext|>"},
                            {"pad_token", "<|endoftext|>"},
                            {"model_max_length", model.spec().text.context}};
  io::write_file_atomic(folder / "tokenizer_config.json", config.dump(2) + "\n");
}

void write_wordpiece_tokenizer(const models::DualEncoder& model, const io::Path& folder, bool pads) {
  need_kind(model, jobs::TokenizerKind::kWordPiece);
  std::string text;
  for (const std::string& line : text::read_vocabulary_lines(model.vocabulary_path())) text += line + "\n";
  io::write_file_atomic(folder / "vocab.txt", text);
  const jobs::TokenizerSpec& words = model.spec().text.tokenizer;
  ordered_json config{{"tokenizer_class", "BertTokenizer"},
                      {"do_lower_case", words.lower_case},
                      {"strip_accents", words.strip_accents.value_or(words.lower_case)},
                      {"tokenize_chinese_chars", words.split_ideographs},
                      {"cls_token", "[CLS]"},
                      {"sep_token", "[SEP]"},
                      {"unk_token", "[UNK]"},
                      {"pad_token", "[PAD]"},
                      {"mask_token", "[MASK]"},
                      {"model_max_length", model.spec().text.context}};
  if (pads) config["max_length"] = model.spec().text.context;
  io::write_file_atomic(folder / "tokenizer_config.json", config.dump(2) + "\n");
}

void write_sentencepiece_tokenizer(const models::DualEncoder& model, const io::Path& folder) {
  need_kind(model, jobs::TokenizerKind::kSentencePiece);
  const jobs::TokenMarks marks = model.spec().text.tokenizer.marks;
  const bool siglip = marks == jobs::TokenMarks::kSiglip, roberta = marks == jobs::TokenMarks::kXlmRoberta;
  io::write_file_atomic(folder / (roberta ? "sentencepiece.bpe.model" : "spiece.model"),
                        io::read_file(model.vocabulary_path()));
  ordered_json config{{"tokenizer_class", siglip    ? "SiglipTokenizer"
                                          : roberta ? "XLMRobertaTokenizer"
                                                    : "T5Tokenizer"},
                      {"eos_token", "</s>"},
                      {"unk_token", "<unk>"},
                      {"pad_token", siglip ? "</s>" : "<pad>"},
                      {"model_max_length", model.spec().text.context}};
  if (roberta) {
    config["bos_token"] = config["cls_token"] = "<s>";
    config["sep_token"] = "</s>";
    config["mask_token"] = "<mask>";
  } else {
    config["extra_ids"] = 0;
    config["additional_special_tokens"] = ordered_json::array();
  }
  io::write_file_atomic(folder / "tokenizer_config.json", config.dump(2) + "\n");
}

}  // namespace trireme::worker::exchange
