# The CUDA plug-in, opened at run time where a GPU is: built only where the CUDA headers, NCCL and the CUDA torch
# libraries are; with nvcc it also has the kernels (worker/kernels), for sm_80 and sm_90. TRIREME_CUDA_TORCH_ROOT: site-packages/torch of the full wheel, when TRIREME_TORCH_ROOT is CPU-only.
set(TRIREME_CUDA_TORCH_ROOT "${TRIREME_TORCH_ROOT}" CACHE PATH "site-packages/torch that has libtorch_cuda.so")
find_path(TRIREME_CUDA_INCLUDE cuda_runtime_api.h HINTS /usr/local/cuda/include ENV CUDA_HOME PATH_SUFFIXES include)
if(NOT TRIREME_CUDA_INCLUDE)  # no toolkit: the headers that torch's wheels bring
  find_path(TRIREME_CUDA_INCLUDE cuda_runtime_api.h HINTS ${TRIREME_CUDA_TORCH_ROOT}/../nvidia/cu13/include)
endif()
find_path(TRIREME_NCCL_INCLUDE nccl.h
          HINTS ${TRIREME_CUDA_TORCH_ROOT}/../nvidia/nccl/include /usr/local/cuda/include)
find_library(TRIREME_NCCL_LIBRARY NAMES nccl libnccl.so.2
             HINTS ${TRIREME_CUDA_TORCH_ROOT}/../nvidia/nccl/lib /usr/local/cuda/lib64)
find_library(TRIREME_CUDART_LIBRARY NAMES cudart libcudart.so.13
             HINTS ${TRIREME_CUDA_TORCH_ROOT}/../nvidia/cu13/lib ${TRIREME_CUDA_TORCH_ROOT}/../nvidia/cuda_runtime/lib
                   /usr/local/cuda/lib64)
if(TRIREME_CUDA_INCLUDE AND TRIREME_NCCL_INCLUDE AND TRIREME_NCCL_LIBRARY AND TRIREME_CUDART_LIBRARY
   AND EXISTS ${TRIREME_CUDA_TORCH_ROOT}/lib/libtorch_cuda.so)
  add_library(trireme_cuda SHARED worker/collective/nccl/nccl_calls.cpp worker/collective/nccl/nccl_plugin.cpp)
  target_include_directories(trireme_cuda SYSTEM PRIVATE
    ${TRIREME_CUDA_TORCH_ROOT}/include ${TRIREME_CUDA_TORCH_ROOT}/include/torch/csrc/api/include
    ${TRIREME_CUDA_INCLUDE} ${TRIREME_NCCL_INCLUDE})
  target_compile_definitions(trireme_cuda PRIVATE _GLIBCXX_USE_CXX11_ABI=1)
  target_compile_options(trireme_cuda PRIVATE -Wno-unused-parameter)
  target_link_directories(trireme_cuda PRIVATE ${TRIREME_CUDA_TORCH_ROOT}/lib)
  target_link_libraries(trireme_cuda PRIVATE common_base torch_cuda c10_cuda torch_cpu c10 ${TRIREME_NCCL_LIBRARY}
                        ${TRIREME_CUDART_LIBRARY})
  target_link_options(trireme_cuda PRIVATE -Wl,-z,defs -Wl,--allow-shlib-undefined -Wl,--no-as-needed)
  set_target_properties(trireme_cuda PROPERTIES BUILD_RPATH ${TRIREME_CUDA_TORCH_ROOT}/lib LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

  # Kernels: nvcc by a command of its own, so that a machine without a GPU or a CUDA language of CMake compiles them.
  find_program(TRIREME_NVCC nvcc HINTS /usr/local/cuda/bin ENV CUDA_HOME PATH_SUFFIXES bin)
  if(NOT TRIREME_NVCC)  # PyPI's (docker/dependencies.txt)
    find_program(TRIREME_NVCC nvcc HINTS ${TRIREME_TORCH_ROOT}/../nvidia/cu13/bin ${TRIREME_CUDA_TORCH_ROOT}/../nvidia/cu13/bin)
  endif()
  if(TRIREME_NVCC)
    file(GLOB_RECURSE kernels CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/worker/kernels/*.cu)
    foreach(kernel IN LISTS kernels)
      get_filename_component(name ${kernel} NAME_WE)
      file(RELATIVE_PATH source ${CMAKE_SOURCE_DIR} ${kernel})  # so that no binary names the checkout
      set(object ${CMAKE_BINARY_DIR}/cuda/${name}.o)
      add_custom_command(OUTPUT ${object}
        COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/cuda
        COMMAND ${TRIREME_NVCC} -std=c++20 -O3 --expt-relaxed-constexpr -gencode arch=compute_80,code=sm_80 -gencode
                arch=compute_90,code=[sm_90,compute_90] -Xcompiler -fPIC,-fvisibility=hidden,-fmacro-prefix-map=${CMAKE_SOURCE_DIR}/= -D_GLIBCXX_USE_CXX11_ABI=1
                -I${CMAKE_SOURCE_DIR} -isystem ${TRIREME_CUDA_TORCH_ROOT}/include
                -isystem ${TRIREME_CUDA_TORCH_ROOT}/include/torch/csrc/api/include -isystem ${TRIREME_CUDA_INCLUDE}
                -MD -MF ${object}.d -c ${source} -o ${object}
        WORKING_DIRECTORY ${CMAKE_SOURCE_DIR} DEPENDS ${kernel} DEPFILE ${object}.d COMMENT "nvcc ${name} for sm_80 and sm_90" VERBATIM)
      target_sources(trireme_cuda PRIVATE ${object})
    endforeach()
  else()
    message(STATUS "CUDA kernels: not built (needs nvcc); torch's own operations will compute the loss on a GPU")
  endif()
else()
  message(STATUS "CUDA plug-in: not built (needs the CUDA headers, NCCL and a torch with libtorch_cuda.so)")
endif()
