# cmake --install BUILD --prefix P: a tree that can be moved and needs neither the checkout nor .trireme.
#   P/bin                    trireme, trireme-coordinator, trireme-worker
#   P/lib/trireme            LibTorch and what it loads, the CUDA plug-in where it was built
#   P/share/trireme          weights, schema, examples, suites, monitoring
#   P/share/man, bash-completion, zsh
# What Debian brings (docker/dependencies.txt, kind run) is not copied.
set(TRIREME_LIBRARIES lib/trireme)
set(TRIREME_SHARE share/trireme)

install(TARGETS trireme trireme-coordinator RUNTIME DESTINATION bin)
if(TARGET trireme-worker)
  set_target_properties(trireme-worker PROPERTIES INSTALL_RPATH "$ORIGIN/../${TRIREME_LIBRARIES}")
  install(TARGETS trireme-worker RUNTIME DESTINATION bin)
  # The full wheel brings cuDNN; the CPU installation has libtorch_cuda.so, too, but nothing that it could load.
  file(GLOB torch_libraries ${TRIREME_TORCH_ROOT}/lib/lib*.so* ${TRIREME_TORCH_ROOT}/../nvidia/*/lib/lib*.so*)
  list(FILTER torch_libraries EXCLUDE REGEX "libtorch_python|libshm")
  if(NOT EXISTS ${TRIREME_TORCH_ROOT}/../nvidia/cudnn)
    list(FILTER torch_libraries INCLUDE REGEX "lib(torch_cpu|c10|gomp[^/]*|cudart|cupti)\\.so[^/]*$")
  endif()
  install(FILES ${torch_libraries} DESTINATION ${TRIREME_LIBRARIES})
endif()
if(TARGET trireme_cuda)
  set_target_properties(trireme_cuda PROPERTIES INSTALL_RPATH "$ORIGIN")
  install(TARGETS trireme_cuda LIBRARY DESTINATION ${TRIREME_LIBRARIES} OPTIONAL)  # built by `all` alone
endif()

install(DIRECTORY .trireme/weights/ DESTINATION ${TRIREME_SHARE}/weights OPTIONAL FILES_MATCHING PATTERN "*.safetensors" PATTERN "*.txt" PATTERN "*.gz" PATTERN "*.json")
install(DIRECTORY jobs/schema jobs/examples jobs/suites monitoring docs DESTINATION ${TRIREME_SHARE})
install(FILES LICENSE worker/checkpoint/pth_to_safetensors.py DESTINATION ${TRIREME_SHARE})
install(FILES coordinator/cli/shell/trireme.1 DESTINATION share/man/man1)
install(FILES coordinator/cli/shell/trireme.bash DESTINATION share/bash-completion/completions RENAME trireme)
install(FILES coordinator/cli/shell/_trireme DESTINATION share/zsh/site-functions)

# Debug information names the source's folder and is for the build tree alone.
install(CODE "
  file(GLOB ours \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/bin/trireme*\" \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${TRIREME_LIBRARIES}/libtrireme_cuda.so\")
  foreach(program IN LISTS ours)
    execute_process(COMMAND \"${CMAKE_STRIP}\" --strip-debug \"\${program}\" COMMAND_ERROR_IS_FATAL ANY)
  endforeach()")
