// The JSON body of one message, inside the room only: codec.cpp puts the header around it.
#pragma once

#include <string>
#include <string_view>

#include "jobs/protocol/messages.h"

namespace trireme::jobs {

std::string body_of(const Message& message);

// `type` is the message's position in the variant. Throws kDamaged naming the field.
Message message_from_body(std::size_t type, std::string_view body);

}  // namespace trireme::jobs
