//! The mio shell: workers, accept and admission, connections, timers, buffers.
