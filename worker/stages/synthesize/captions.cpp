#include "worker/stages/synthesize/captions.h"

#include <algorithm>
#include <array>

namespace trireme::worker::stages::synthesize {
namespace {
std::string article(const std::string& phrase) {
  return (std::string("aeiou").find(phrase[0]) != std::string::npos ? "an " : "a ") + phrase;
}

std::string plural(std::string_view noun) {
  return std::string(noun) + (noun == "cross" ? "es" : "s");
}

std::string background_phrase(const Background& background) {
  const std::string first(colour(background.first).name), second(colour(background.second).name);
  switch (background.ground) {
    case Ground::kPlain:
      return "on " + article(first) + " background";
    case Ground::kGradient:
      return "on a gradient from " + first + " to " + second;
    case Ground::kStripes:
      return "on " + first + " and " + second + " stripes";
    case Ground::kSky:
      return "in the sky";
    case Ground::kGrass:
      return "on the grass";
    case Ground::kSnow:
      return "in the snow";
    case Ground::kSand:
      return "on the sand";
  }
  return "";
}

std::string inverse(Relation relation) {
  switch (relation) {
    case Relation::kLeftOf:
      return "right of";
    case Relation::kRightOf:
      return "left of";
    case Relation::kAbove:
      return "below";
    case Relation::kBelow:
      return "above";
    default:
      return "";
  }
}

// Where the only object is, when that is plain to see.
std::string place(const Object& object) {
  if (object.x < 0.35) return "at the left";
  if (object.x > 0.65) return "at the right";
  if (object.y < 0.35) return "at the top";
  if (object.y > 0.65) return "at the bottom";
  return "in the middle";
}

std::string list_of(const Scene& scene, bool with_size) {
  std::string text;
  for (std::size_t i = 0; i < scene.objects.size(); ++i)
    text += (i == 0                          ? ""
             : i + 1 == scene.objects.size() ? " and "
                                             : ", ") +
            object_phrase(scene, i, with_size);
  return text;
}

std::string subject(const Scene& scene, RandomStream& random) {
  const bool with_size = random.below(2) == 0;
  if (scene.equal) return object_phrase(scene, 0, with_size);
  if (scene.relation == Relation::kNone || random.below(5) == 0) return list_of(scene, with_size);
  const std::string a = object_phrase(scene, 0, with_size), b = object_phrase(scene, 1, with_size);
  const std::string other = inverse(scene.relation);
  if (!other.empty() && random.below(2) == 0) return b + " " + other + " " + a;
  return a + " " + std::string(name_of(scene.relation)) + " " + b;
}

std::string sentence(const Scene& scene, RandomStream& random) {
  const std::string what = subject(scene, random), where = background_phrase(scene.background);
  const bool single = scene.objects.size() == 1;
  switch (random.below(7)) {
    case 0:
      return what + " " + where;
    case 1:
      return "a picture of " + what;
    case 2:
      return "there " + std::string(scene.equal ? "are " : "is ") + what + " " + where;
    case 3:
      return "a drawing of " + what + " " + where;
    case 4:
      return single ? what + " " + place(scene.objects[0]) + " of the picture"
                    : "we see " + what + " " + where;
    case 5:
      return "an image of " + what + " " + where;
    default:
      return "you can see " + what;
  }
}

std::string_view doing(Relation relation) {
  constexpr std::string_view kVerbs[] = {"", "standing", "standing", "hanging", "lying", "sitting", "lying"};
  return kVerbs[static_cast<int>(relation)];
}

std::string_view doing(Ground ground) {
  switch (ground) {
    case Ground::kSky:
      return "flying";
    case Ground::kGrass:
    case Ground::kSnow:
    case Ground::kSand:
      return "lying";
    default:
      return "floating";
  }
}

// "a red circle is standing left of a blue square in the snow", "two green stars are flying in the sky".
std::string action(const Scene& scene, RandomStream& random) {
  const bool with_size = random.below(2) == 0;
  const std::string where = background_phrase(scene.background);
  if (scene.relation != Relation::kNone && !scene.equal && random.below(2) == 0)
    return object_phrase(scene, 0, with_size) + " is " + std::string(doing(scene.relation)) + " " +
           std::string(name_of(scene.relation)) + " " + object_phrase(scene, 1, with_size) + " " + where;
  const std::string what = scene.equal ? object_phrase(scene, 0, with_size) : list_of(scene, with_size);
  return what + (scene.objects.size() > 1 ? " are " : " is ") + std::string(doing(scene.background.ground)) +
         " " + where;
}
}  // namespace

std::string object_phrase(const Scene& scene, std::size_t object, bool with_size) {
  constexpr std::string_view kNumbers[] = {"no", "one", "two", "three", "four", "five"};
  const Object& o = scene.objects[object];
  std::string phrase(with_size && !scene.equal ? name_of(o.size) : "");
  if (!phrase.empty()) phrase += ' ';
  phrase += std::string(colour(o.colour).name) + " ";
  if (scene.equal)
    return std::string(kNumbers[scene.objects.size()]) + " " + phrase + plural(name_of(o.shape));
  return article(phrase + std::string(name_of(o.shape)));
}

std::vector<std::string> captions_of(const Scene& scene, std::int64_t count, double actions,
                                     RandomStream& random) {
  std::vector<std::string> captions;
  for (int tries = 0; static_cast<std::int64_t>(captions.size()) < count; ++tries) {
    const bool acts = actions > 0 && random.uniform() < actions;
    std::string next = acts ? action(scene, random) : sentence(scene, random);
    if (tries < 20 * count && std::find(captions.begin(), captions.end(), next) != captions.end()) continue;
    captions.push_back(std::move(next));
  }
  return captions;
}

std::string coarse_caption(const Scene& scene) {
  const Ground ground = scene.background.ground;
  const bool scenery = ground == Ground::kSky || ground == Ground::kGrass || ground == Ground::kSnow ||
                       ground == Ground::kSand;
  const std::string what = scene.equal ? object_phrase(scene, 0, false) : list_of(scene, false);
  return "a drawing of " + what + (scenery ? " " + background_phrase(scene.background) : "");
}

std::string boilerplate(RandomStream& random) {
  constexpr std::array kTexts{"image for illustration purposes only", "click here to enlarge the picture",
                              "stock photo royalty free download",    "photo may differ from the product",
                              "no description available yet",         "thumbnail of the uploaded file"};
  return kTexts[random.below(kTexts.size())];
}

std::string foreign_sentence(RandomStream& random) {
  constexpr std::array kTexts{"ein Hund läuft durch den tiefen Schnee",
                              "zwei Kinder spielen am Strand mit einem Ball",
                              "die alte Brücke führt über den breiten Fluss",
                              "eine Frau liest ein Buch auf der Bank",
                              "un chien court dans la neige profonde",
                              "deux enfants jouent au ballon sur la plage",
                              "le vieux pont traverse une large rivière",
                              "une femme lit un livre sur le banc",
                              "un perro corre por la nieve profunda",
                              "dos niños juegan a la pelota en la playa",
                              "el puente viejo cruza un río ancho",
                              "una mujer lee un libro en el banco",
                              "pes běží hlubokým sněhem přes louku",
                              "dvě děti si hrají na pláži s míčem",
                              "starý most vede přes širokou řeku",
                              "žena čte knihu na lavičce v parku",
                              "un cane corre nella neve alta",
                              "due bambini giocano a palla sulla spiaggia",
                              "pies biegnie przez głęboki śnieg",
                              "dwoje dzieci bawi się piłką na plaży",
                              "een hond rent door de diepe sneeuw",
                              "twee kinderen spelen met een bal op het strand",
                              "um cachorro corre pela neve funda",
                              "duas crianças brincam com uma bola na praia"};
  return kTexts[random.below(kTexts.size())];
}

}  // namespace trireme::worker::stages::synthesize
