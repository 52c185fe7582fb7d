#include "worker/text/tokenizers/sentence_piece.h"

#include <sentencepiece_processor.h>

#include "common/base/error.h"
#include "common/io/folder.h"
#include "worker/text/unicode.h"

namespace trireme::worker::text {
namespace {

constexpr int kUnknownOfFairseq = 3;

// What is wrong with the file, or nothing. The library throws what its trie does not take, an empty piece.
std::string load(sentencepiece::SentencePieceProcessor& processor, const std::string& path) {
  try {
    const auto status = processor.Load(path);
    return status.ok() ? "" : status.ToString();
  } catch (const std::exception& thrown) {
    return thrown.what();
  }
}

}  // namespace

SentencePiece::SentencePiece(const std::string& model_path, jobs::TokenMarks marks)
    : processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()),
      fairseq_(marks == jobs::TokenMarks::kXlmRoberta) {
  if (!io::is_file(model_path))
    throw Error(ErrorKind::kNotFound, "SentencePiece model " + model_path + " is not a file",
                "name the spiece.model or tokenizer.model of the checkpoint");
  if (const std::string fault = load(*processor_, model_path); !fault.empty())
    throw Error(ErrorKind::kInvalid, model_path + " is not a SentencePiece model: " + fault,
                "copy or download the file again");
  end_ = fairseq_ ? 2 : processor_->eos_id();
  pad_ = fairseq_ ? 1 : marks == jobs::TokenMarks::kSiglip ? end_ : processor_->pad_id();
  if (end_ < 0 || pad_ < 0)
    throw Error(ErrorKind::kInvalid, model_path + " has no id for " + (end_ < 0 ? "the end mark" : "padding"),
                "its marks are not " +
                    std::string(name_of(marks == jobs::TokenMarks::kUnset ? jobs::TokenMarks::kT5 : marks)) +
                    "'s");
}

SentencePiece::~SentencePiece() = default;

std::int64_t SentencePiece::vocabulary_size() const {
  return processor_->GetPieceSize() + (fairseq_ ? 2 : 0);
}

Tokens SentencePiece::encode(std::string_view caption_utf8, std::int64_t context) const {
  if (context < 2)
    throw Error(ErrorKind::kInvalid, "a context of " + std::to_string(context) + " tokens is too short");
  std::vector<int> pieces;
  if (const auto status = processor_->Encode(collapse_space(caption_utf8), &pieces); !status.ok())
    throw Error(ErrorKind::kInvalid, "a caption cannot be tokenised: " + status.ToString());
  Tokens tokens;
  if (fairseq_) tokens.ids.push_back(0);
  for (const int piece : pieces)
    tokens.ids.push_back(!fairseq_ ? piece : piece == processor_->unk_id() ? kUnknownOfFairseq : piece + 1);
  tokens.truncated = static_cast<std::int64_t>(tokens.ids.size()) + 1 > context;
  if (tokens.truncated) tokens.ids.resize(static_cast<std::size_t>(context - 1));
  tokens.ids.push_back(end_);
  return tokens;
}

std::string SentencePiece::decode(std::span<const std::int64_t> ids) const {
  std::vector<int> pieces;
  for (const std::int64_t id : ids) {
    if (id < 0 || id >= vocabulary_size())
      throw Error(ErrorKind::kInvalid, "token " + std::to_string(id) + " is not in a vocabulary of " +
                                           std::to_string(vocabulary_size()));
    if (id == end_ || id == pad_ || (fairseq_ && (id == 0 || id + 1 == vocabulary_size()))) continue;
    pieces.push_back(static_cast<int>(!fairseq_                 ? id
                                      : id == kUnknownOfFairseq ? processor_->unk_id()
                                                                : id - 1));
  }
  std::string text;
  if (const auto status = processor_->Decode(pieces, &text); !status.ok())
    throw Error(ErrorKind::kInvalid, "ids cannot be decoded: " + status.ToString());
  return text;
}

}  // namespace trireme::worker::text
