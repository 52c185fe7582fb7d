// One object of a config file on its way to facts: every field is taken by name, what remains is refused.
#pragma once

#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/io/file_system.h"
#include "jobs/checkpoint/checkpoint_config.h"

namespace trireme::jobs {

class ConfigObject {
 public:
  // `file`: name shown, `path`: of the object within it ("model_cfg.vision_cfg"), `tower`: whose refusals.
  ConfigObject(const Json& object, std::string file, std::string path, std::string tower,
               CheckpointConfig& out);

  bool has(const std::string& name) const;  // there and not null; counts as taken
  // Absent or null: nothing. Another type throws kDamaged.
  std::optional<std::int64_t> whole(const std::string& name);
  std::optional<double> real(const std::string& name);
  std::optional<bool> flag(const std::string& name);
  std::optional<std::string> text(const std::string& name);
  const Json* value(const std::string& name);                              // nullptr when absent or null
  ConfigObject object(const std::string& name, const std::string& tower);  // empty when absent

  void fact(const std::string& field, Json value, const std::string& name,
            std::optional<std::int64_t> image_px = {}) const;
  void refuse(const std::string& name, const std::string& why = "which no tower here computes") const;
  // Refused unless absent, null, false, or equal to `usual`.
  void only(const std::string& name, const Json& usual = {});
  void harmless(std::initializer_list<const char*> names);
  void finish() const;  // refuses what was not taken

  const std::string& tower() const { return tower_; }

 private:
  const Json* find(const std::string& name) const;
  [[noreturn]] void wrong_type(const std::string& name, const Json& value, const char* wanted) const;
  std::string where(const std::string& name) const;

  Json object_;
  std::string file_, path_, tower_;
  CheckpointConfig& out_;
  mutable std::set<std::string> taken_;
};

// 3 numbers, or one that stands for three.
std::optional<Json> channels_of(ConfigObject& config, const std::string& name);

// The readers of each kind of file; all append to `out`.
void read_open_clip_config(const Json& root, const std::string& file, CheckpointConfig& out);
void read_transformers_config(const Json& root, const std::string& file, CheckpointConfig& out);
void read_timm_config(const Json& root, const std::string& file, CheckpointConfig& out);
// A model of ours in a config that we exported: its tokenizer's fields take the place of what was said of
// them.
void read_exported_model(const Json& model, const std::string& file, CheckpointConfig& out);
// A folder with a manifest of ours: every file that it lists is there, as long as it says and, up to 16 MiB,
// with the bytes that it had. Throws kDamaged naming the file.
void check_own_manifest(const io::Path& folder);
// A step of a run's ckpt/: the model of its stage in the job that its manifest keeps, as if its config.json
// said so; a vocabulary that a stage made is looked up in the run (kNotFound where it is not there). Without
// a job a refusal; nothing where the manifest is another's.
void read_step_manifest(const io::Path& folder, CheckpointConfig& out);
void read_own_config(const Json& root, const std::string& file, CheckpointConfig& out);
void read_preprocessor_config(const Json& root, const std::string& file, CheckpointConfig& out);
void read_processor_config(const Json& root, const std::string& file, CheckpointConfig& out);
void read_tokenizer_config(const Json& root, const std::string& file, CheckpointConfig& out);
void read_pooling_config(const Json& root, const std::string& file, CheckpointConfig& out);
// sentence-transformers' sentence_bert_config.json and config_sentence_transformers.json.
void read_sentence_config(const Json& root, const std::string& file, CheckpointConfig& out);

// A vision tower of timm by its name, as open_clip's vision_cfg names it; refuses those that are none of
// ours.
void read_timm_name(ConfigObject& config, const std::string& field, const std::string& name,
                    const std::string& pool);
// open_clip's preprocess_cfg and timm's pretrained_cfg.
void read_open_clip_preprocess(ConfigObject config);
void read_timm_preprocess(ConfigObject config, std::int64_t patch_px);
std::int64_t timm_patch(const std::string& name);  // 16 of "vit_base_patch16_224", 0 without one

// A picture that is no whole number of patches: the convolution leaves its last pixels out. Positions show
// the patches alone.
void cut_patch_fact(const ConfigObject& config, const std::string& name, std::int64_t image_px,
                    std::int64_t patch_px);

// "gelu", "quick_gelu", "gelu_pytorch_tanh" …, as transformers calls them, into facts of the tower.
void activation_facts(ConfigObject& config, const std::string& name, const std::string& usual);

}  // namespace trireme::jobs
