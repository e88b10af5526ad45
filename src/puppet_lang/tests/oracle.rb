# Evaluates expressions with the installed Puppet, for the differential test: a JSON array of texts comes in, an array
# of {"value": text} or {"error": text} goes out.
require 'json'
require 'puppet_pal'

def canonical(value)
  case value
  when nil then 'undef'
  when :default then 'default'
  when true, false, Integer then value.to_s
  when Float then format('%.12e', value)
  when String then value.to_json
  when Regexp then "/#{value.source}/"
  when Array then "[#{value.map { |item| canonical(item) }.join(', ')}]"
  when Hash then "{#{value.map { |key, item| "#{canonical(key)} => #{canonical(item)}" }.join(', ')}}"
  when Puppet::Pops::Types::PSensitiveType::Sensitive then "Sensitive(#{canonical(value.unwrap)})"
  when Puppet::Pops::Types::PAnyType then "Type(#{value})"
  when Puppet::Pops::Types::Iterator then canonical(value.to_a)
  when URI then "URI(#{value})"
  when Symbol then value.to_s.to_json
  else "#{value.class.name.split('::').last}(#{value})"
  end
end

Puppet.initialize_settings
Puppet[:strict] = :error
Puppet[:strict_variables] = true
Puppet[:tasks] = false
Puppet[:log_level] = 'emerg'
cases = JSON.parse($stdin.read)
answers = Puppet::Pal.in_tmp_environment('oracle', modulepath: ['/usr/share/puppet/modules']) do |pal|
  cases.map do |text|
    begin
      pal.with_script_compiler { |compiler| { value: canonical(compiler.evaluate_string(text)) } }
    rescue StandardError, SystemStackError, Timeout::Error => error
      { error: error.message.to_s.lines.first.to_s[0, 300] }
    end
  end
end
puts JSON.generate(answers)
