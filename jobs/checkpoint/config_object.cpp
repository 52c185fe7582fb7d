#include "jobs/checkpoint/config_object.h"

#include "common/base/error.h"
#include "common/base/log.h"

namespace trireme::jobs {

ConfigObject::ConfigObject(const Json& object, std::string file, std::string path, std::string tower,
                           CheckpointConfig& out)
    : object_(object), file_(std::move(file)), path_(std::move(path)), tower_(std::move(tower)), out_(out) {
  if (!object.is(Json::Type::kObject) && !object.is(Json::Type::kNull))
    throw Error(ErrorKind::kDamaged,
                file_ + ": " + (path_.empty() ? "the document" : path_) + " is " + describe_json(object) +
                    ", not an object",
                "copy or download the file again");
}

std::string ConfigObject::where(const std::string& name) const {
  return file_ + ": " + (path_.empty() ? "" : path_ + ".") + printable(name, 100);
}

const Json* ConfigObject::find(const std::string& name) const {
  taken_.insert(name);
  const Json* found = object_.find(name);
  return found == nullptr || found->is(Json::Type::kNull) ? nullptr : found;
}

void ConfigObject::wrong_type(const std::string& name, const Json& value, const char* wanted) const {
  throw Error(ErrorKind::kDamaged, where(name) + " is " + describe_json(value) + ", wanted is " + wanted,
              "copy or download the file again, or correct it");
}

bool ConfigObject::has(const std::string& name) const {
  return find(name) != nullptr;
}
const Json* ConfigObject::value(const std::string& name) {
  return find(name);
}

std::optional<std::int64_t> ConfigObject::whole(const std::string& name) {
  const Json* found = find(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is(Json::Type::kInteger)) wrong_type(name, *found, "a whole number");
  return found->integer;
}

std::optional<double> ConfigObject::real(const std::string& name) {
  const Json* found = find(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is(Json::Type::kInteger) && !found->is(Json::Type::kNumber))
    wrong_type(name, *found, "a number");
  return found->number;
}

std::optional<bool> ConfigObject::flag(const std::string& name) {
  const Json* found = find(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is(Json::Type::kBool)) wrong_type(name, *found, "true or false");
  return found->boolean;
}

std::optional<std::string> ConfigObject::text(const std::string& name) {
  const Json* found = find(name);
  if (found == nullptr) return std::nullopt;
  if (!found->is(Json::Type::kString)) wrong_type(name, *found, "a string");
  return found->text;
}

ConfigObject ConfigObject::object(const std::string& name, const std::string& tower) {
  const Json* found = find(name);
  return {found == nullptr ? Json() : *found, file_, path_.empty() ? name : path_ + "." + name, tower, out_};
}

void ConfigObject::fact(const std::string& field, Json value, const std::string& name,
                        std::optional<std::int64_t> image_px) const {
  out_.facts.push_back({field, std::move(value), where(name), image_px});
}

void ConfigObject::refuse(const std::string& name, const std::string& why) const {
  const Json* found = object_.find(name);
  const std::string is = found == nullptr ? " is absent" : " is " + printable(dump_json(*found), 120);
  out_.refusals.push_back({tower_, where(name) + is + ", " + why});
}

void ConfigObject::only(const std::string& name, const Json& usual) {
  const Json* found = find(name);
  if (found == nullptr || (found->is(Json::Type::kBool) && !found->boolean && usual.is(Json::Type::kNull)) ||
      dump_json(*found) == dump_json(usual))
    return;
  const bool numbers = usual.is(Json::Type::kInteger) || usual.is(Json::Type::kNumber);
  if (numbers && found->number == usual.number && !found->is(Json::Type::kString)) return;
  refuse(name);
}

void ConfigObject::harmless(std::initializer_list<const char*> names) {
  for (const char* name : names) taken_.insert(name);
}

void ConfigObject::finish() const {
  for (const std::string& key : object_.keys)
    if (!taken_.contains(key)) refuse(key, "a field that is not known here");
}

std::optional<Json> channels_of(ConfigObject& config, const std::string& name) {
  const Json* found = config.value(name);
  if (found == nullptr) return std::nullopt;
  Json out = Json::array();
  for (std::size_t i = 0; i < 3; ++i) {
    const Json* one = found->is(Json::Type::kArray) && found->items.size() == 3 ? &found->items[i] : found;
    if (!one->is(Json::Type::kInteger) && !one->is(Json::Type::kNumber)) {
      config.refuse(name, "three numbers are wanted");
      return std::nullopt;
    }
    out.push(Json(one->number));
  }
  return out;
}

void activation_facts(ConfigObject& config, const std::string& name, const std::string& usual) {
  const std::string act = config.text(name).value_or(usual);
  const bool tanh =
      act == "gelu_pytorch_tanh" || act == "gelu_new" || act == "gelu_fast" || act == "gelu_tanh";
  if (act != "gelu" && act != "quick_gelu" && !tanh) return config.refuse(name);
  config.fact(config.tower() + "/quick_gelu", Json(act == "quick_gelu"), name);
  config.fact(config.tower() + "/activation", Json(tanh ? "gelu_tanh" : ""), name);
}

void cut_patch_fact(const ConfigObject& config, const std::string& name, std::int64_t image_px,
                    std::int64_t patch_px) {
  if (patch_px > 0 && image_px % patch_px != 0)
    config.fact("image/image_px", Json(image_px), name, image_px / patch_px * patch_px);
}

}  // namespace trireme::jobs
