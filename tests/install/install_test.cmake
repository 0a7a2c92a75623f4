# Installs BUILD into WORK/prefix, builds CONSUMER against it and runs what comes out.
function(run what)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(status)
    message(FATAL_ERROR "${what} failed (${status}):\n${output}")
  endif()
endfunction()

set(prefix ${WORK}/prefix)
file(REMOVE_RECURSE ${prefix} ${WORK}/consumer)
run("installing" ${CMAKE_COMMAND} --install ${BUILD} --prefix ${prefix})
foreach(file bin/attune include/attune.h ${LIBDIR}/libattune_rt.a share/man/man1/attune.1)
  if(NOT EXISTS ${prefix}/${file})
    message(FATAL_ERROR "${file} is not installed")
  endif()
endforeach()

# A folder that is moved still works.
file(REMOVE_RECURSE ${WORK}/moved)
file(RENAME ${prefix} ${WORK}/moved)
run("configuring" ${CMAKE_COMMAND} -S ${CONSUMER} -B ${WORK}/consumer -G ${GENERATOR} -DCMAKE_C_COMPILER=${CC}
    -DCMAKE_PREFIX_PATH=${WORK}/moved)
run("building" ${CMAKE_COMMAND} --build ${WORK}/consumer)
set(ENV{ATTUNE_CACHE_DIR} ${WORK}/cache)
run("the program that compiles" ${WORK}/consumer/consumer_jit)
run("the program with a built kernel" ${WORK}/consumer/consumer_aot)

find_program(pkg_config pkg-config)
if(pkg_config)
  set(ENV{PKG_CONFIG_PATH} ${WORK}/moved/${LIBDIR}/pkgconfig)
  execute_process(COMMAND ${pkg_config} --cflags --libs attune OUTPUT_VARIABLE flags COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(flags UNIX_COMMAND "${flags}")
  run("compiling with pkg-config" ${CC} ${CONSUMER}/jit.c -o ${WORK}/consumer/pkg_config_jit ${flags} -lm)
  run("the program made with pkg-config" ${CMAKE_COMMAND} -E env LD_LIBRARY_PATH=${WORK}/moved/${LIBDIR}
      ${WORK}/consumer/pkg_config_jit)
endif()
