// Lists of the image embeddings of a near_duplicates stage, so that not every pair has to be looked at, and
// how many of them find its pairs.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "worker/stages/near_duplicates/near_embeddings.h"

namespace trireme::worker::stages::near_duplicates {

// Writes a `.near_lists.safetensors` file. The lists that are looked at are the fewest that find
// `least_recall` of the pairs of 500 images, held back, with any other image: those that are near, or the
// nearest hundred where fewer are. Both images of a pair ask for the other. Deterministic bytes.
NearPromise write_near_lists(const NearEmbeddings& images, double least_recall,
                             const std::function<void()>& poll, const io::Path& path);
// A file that says that every pair is to be looked at.
void write_no_lists(const io::Path& path);

// What the file promises; nothing where it says that every pair is to be looked at. Throws kDamaged.
std::optional<NearPromise> read_near_promise(const io::Path& path);

}  // namespace trireme::worker::stages::near_duplicates
