" Settings of llama.vim; they must be set before the plugin is loaded.
let g:llama_config = {
    \ 'endpoint_fim':     'http://127.0.0.1:8000/infill',
    \ 'endpoint_inst':    'http://127.0.0.1:8000/v1/chat/completions',
    \ 'api_key':          'none',
    \ 'n_prefix':         256,
    \ 'n_suffix':         64,
    \ 'n_predict':        128,
    \ 't_max_prompt_ms':  500,
    \ 't_max_predict_ms': 1000,
    \ 'ring_n_chunks':    8,
    \ }
