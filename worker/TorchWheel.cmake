# LibTorch out of the PyPI wheel, without find_package(Torch), which insists on a CUDA toolkit.
# TRIREME_TORCH_ROOT names the folder that holds include/ and lib/ (site-packages/torch); quickstart installs one.
set(TRIREME_TORCH_ROOT "$ENV{TRIREME_TORCH_ROOT}" CACHE PATH "site-packages/torch of torch 2.11.0")
if(NOT TRIREME_TORCH_ROOT)
  file(GLOB candidates ${CMAKE_SOURCE_DIR}/.trireme/python/lib/python3*/site-packages/torch)
  if(candidates)
    list(GET candidates 0 TRIREME_TORCH_ROOT)
  endif()
endif()
if(NOT EXISTS ${TRIREME_TORCH_ROOT}/lib/libtorch_cpu.so)
  message(FATAL_ERROR "torch is missing (looked in '${TRIREME_TORCH_ROOT}'). Run ./quickstart build, or set "
                      "TRIREME_TORCH_ROOT to the torch folder of a Python that has torch 2.11.0.")
endif()
file(STRINGS ${TRIREME_TORCH_ROOT}/version.py version_line REGEX "^__version__")
if(NOT version_line MATCHES "2\\.11\\.0")
  message(FATAL_ERROR "Trireme needs torch 2.11.0; ${TRIREME_TORCH_ROOT} says ${version_line}")
endif()

# Headers and libraries of torch, and one precompiled header for every room that uses it.
file(WRITE ${CMAKE_BINARY_DIR}/torch_headers.cpp "")
add_library(torch_headers STATIC ${CMAKE_BINARY_DIR}/torch_headers.cpp)
target_include_directories(torch_headers SYSTEM PUBLIC
  ${TRIREME_TORCH_ROOT}/include ${TRIREME_TORCH_ROOT}/include/torch/csrc/api/include)
target_compile_definitions(torch_headers PUBLIC _GLIBCXX_USE_CXX11_ABI=1)
target_compile_options(torch_headers PUBLIC -Wno-unused-parameter)
target_precompile_headers(torch_headers PRIVATE <ATen/ATen.h> <torch/types.h> <torch/nn/module.h>
  <torch/csrc/autograd/autograd.h> <torch/csrc/autograd/custom_function.h> <vector> <string> <map> <memory> <functional>)
if(TRIREME_CCACHE)
  target_compile_options(torch_headers PUBLIC -fpch-preprocess)
endif()

# Where programs of the build tree find them: relative to themselves when torch lies in the checkout, so that it can be moved.
file(GLOB cuda_runtime_folders ${TRIREME_TORCH_ROOT}/../nvidia/*/lib)
foreach(folder IN ITEMS ${TRIREME_TORCH_ROOT}/lib ${cuda_runtime_folders})
  cmake_path(NORMAL_PATH folder)
  if(folder MATCHES "^${CMAKE_SOURCE_DIR}/")
    cmake_path(RELATIVE_PATH folder BASE_DIRECTORY ${CMAKE_RUNTIME_OUTPUT_DIRECTORY})
    string(PREPEND folder "$ORIGIN/")
  endif()
  list(APPEND CMAKE_BUILD_RPATH ${folder})
endforeach()
target_link_directories(torch_headers PUBLIC ${TRIREME_TORCH_ROOT}/lib)
target_link_libraries(torch_headers PUBLIC torch_cpu c10)
target_link_options(torch_headers PUBLIC -Wl,--allow-shlib-undefined -Wl,--no-as-needed)
